"""M/M/4 at load 0.8 in SimPy, the peer that most people would write it in: `mmc.py REQUESTS` prints seconds of processor
time and the mean time in the system, in seconds."""

import random
import sys
import time

import simpy

SERVERS, RATE, WORK = 4, 320.0, 0.010


def main(requests: int) -> None:
    draws = random.Random(1)
    env = simpy.Environment()
    servers = simpy.Resource(env, SERVERS)
    total = 0.0

    def request():
        nonlocal total
        arrived = env.now
        with servers.request() as slot:
            yield slot
            yield env.timeout(draws.expovariate(1 / WORK))
        total += env.now - arrived

    def arrivals():
        for _ in range(requests):
            yield env.timeout(draws.expovariate(RATE))
            env.process(request())

    begin = time.process_time()
    env.process(arrivals())
    env.run()
    print(time.process_time() - begin, total / requests)


main(int(sys.argv[1]))
