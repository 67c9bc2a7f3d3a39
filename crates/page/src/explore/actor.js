// An actor.

let actorTimer = 0;

function loadActorSoon() {
  clearTimeout(actorTimer);
  if (ANSWERS || look.who === null || look.who < 0 || look.at === null) return;
  actorTimer = setTimeout(loadActor, 120);
}

function chooseActor(id, isNew) {
  look.who = id;
  if (look.at === null) point((look.t[0] + look.t[1]) / 2);
  if (isNew) remember(true);
  loadActorSoon();
}

async function loadActor() {
  const { made, head, body, why } = parts.actor;
  made.hidden = false;
  head.textContent = `${short(actorName(look.who), 30)} at ${when(look.at)}`;
  why.textContent = 'what it had, what it believed, what was true';
  await answered(body, () => ask('actor', `/api/actor?actor=${look.who}&at=${Math.round(look.at)}`), showActor);
}

function showActor(it) {
  const { body } = parts.actor;
  const rows = [];
  const cell = (words, kind) => el('td', { class: 'n' + (kind ? ' ' + kind : '') }, words);
  const knows = (service) => [cell(count(service.thinks)), cell(count(service.ready), service.ready < service.thinks ? 'bad' : '')];
  const seen = new Set();
  for (const one of it.instances) {
    const service = it.services.find((each) => each.service === one.service);
    const [active, slots] = one.slots;
    const isFull = active >= slots && slots > 0;
    const know = seen.has(one.service) || !service ? [cell(''), cell('')] : knows(service);
    seen.add(one.service);
    rows.push(el('tr', null, el('td', null, `${short(one.service, 16)}#${one.ordinal}`, one.state === 'ready' ? '' : el('span', { class: 'mut' }, ' ' + one.state)),
      cell(`${active} / ${slots}`, isFull ? 'bad strong' : ''), cell(count(one.waiting), one.waiting ? 'bad strong' : ''), ...know));
  }
  for (const service of it.services) if (!seen.has(service.service)) rows.push(el('tr', { class: 'mut' }, el('td', null, short(service.service, 20)), cell(''), cell(''), ...knows(service)));
  const heads = [['instance', null], ['slots', 'n'], ['queue', 'n'], ['knows', 'n'], ['up', 'n']];
  const made = el('table', { class: 'full', 'data-table': 'actor' }, el('thead', null, el('tr', null, heads.map(([words, kind]) => el('th', { scope: 'col', class: kind }, words)))), el('tbody', null, rows));
  const [thinks, ready] = [sum(it.services.map((one) => one.thinks)), sum(it.services.map((one) => one.ready))];
  const [has, latest] = it.view;
  const said = [];
  if (it.down_since_ns !== null) said.push(el('b', { class: 'bad' }, `✕ down since ${when(it.down_since_ns)}. `));
  said.push(`Its view is version ${count(has)}${latest > has ? `; the coordinator's is ${count(latest)}` : ''}. `);
  said.push(thinks === ready ? `It knows ${count(thinks)} ready instances, as many as there are.` : el('b', null, `It counts on ${count(thinks)} instances; ${count(ready)} are ready.`));
  if (it.steps) said.push(` ${it.nodes.length ? 'Decided' : 'Applied'}: ${count(it.steps[0])} steps${it.nodes.length ? '' : ` of ${count(it.steps[1])}`}.`);
  if (it.requests_in_flight !== null) said.push(` ${count(it.requests_in_flight)} ${it.requests_in_flight === 1 ? 'request' : 'requests'} under way.`);
  const nodes = it.nodes.length ? el('table', { class: 'full' }, el('thead', null, el('tr', null, ['node', 'it thinks', 'is', 'step'].map((words) => el('th', { scope: 'col' }, words)))),
    el('tbody', null, it.nodes.slice(0, 60).map((node) => el('tr', null, el('td', null, short(node.node, 20)), el('td', { class: (node.thinks === 'dead') === node.is_up ? 'bad strong' : null }, node.thinks),
      el('td', { class: node.is_up ? null : 'bad' }, node.is_up ? 'up' : '✕ down'), el('td', null, count(node.applied)))))) : null;
  const list = (title, lines, say) => (lines.length ? el('details', null, el('summary', null, `${title} (${count(lines.length)})`),
    el('ol', { class: 'chain' }, lines.slice(0, 40).map((one) => el('li', null, el('time', null, say(one)), button(one.what, () => choose(one.record, { isNew: true, keepsExtent: false })))))) : null);
  body.replaceChildren(...[made, el('p', { class: 'said' }, said), nodes, list('Timers', it.timers, (one) => `in ${time(Math.max(one.at_ns - it.at_ns, 0))}`),
    list('On the way to it', it.coming, (one) => `${time(it.at_ns - one.at_ns)} ago`)].filter((one) => one));
}
