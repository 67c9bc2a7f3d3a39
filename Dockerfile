# The image of meshsim: one static binary, and nothing else. There is no shell, no libc and no package in it.
#
#   docker build -t meshsim .       builds the binary in a container, as `docker compose up --build` does: needs Docker only
#   scripts/image                   builds it here and puts it into the image: needs Rust, and no registry

# What both ways share.
FROM scratch AS base
LABEL org.opencontainers.image.title="meshsim" \
      org.opencontainers.image.description="Rehearse a service mesh before you run it" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
# Empty folders: a new volume takes its owner from the folder of the image that it is mounted over.
COPY --chown=65532:65532 container/ /
USER 65532:65532
# Between the processes of a mesh: the coordinator, and nodes and clients. The gateway.
EXPOSE 7700 7701 8080
ENTRYPOINT ["/meshsim"]
CMD ["--help"]

# With the binary that `scripts/image` has put there. The old builder, which builds all stages in their order, comes by
# here on its way to the last one, where there may be no binary yet: a pattern need not match.
FROM base AS prebuilt
COPY LICENSE-APACHE LICENSE-MIT target/image/meshsi[m] /

FROM rust:1.95 AS build
WORKDIR /src
COPY . .
RUN scripts/static /meshsim

FROM base
COPY LICENSE-APACHE LICENSE-MIT /
COPY --from=build /meshsim /
