// The page of a live run: what the gateway's stream says, drawn once a second by whole windows, and what can be done.

const KEPT_S = 300;
const WINDOWS_MAX = 720;
/** Without a word for so long the connection is lost: the gateway speaks every second. */
const SILENT_MS = 3500;
const AGAIN_MS = 2000;
const EVENTS_SHOWN = 60;
const BEYOND_MIN = 10;

/** What is known of the run. */
const known = { run: null, last: null, bounds: [], edges: [], lines: new Map(), events: [], from: 0, status: null, zones: [], silences: [], duration: 0 };
let view = null;
let extent = 120;
let isHeld = false;
let hasEnded = false;
let heard = performance.now();
let lost = null;
let tries = 0;
let source = null;

/** The token: out of the address at once, and kept in this page alone. */
let token = new URLSearchParams(location.hash.slice(1)).get('token') || '';
if (location.hash) history.replaceState(null, '', location.pathname);

const page = document.getElementById('page');
const banners = document.getElementById('banners');
const news = document.getElementById('live');

// Hearing.

function forget() {
  Object.assign(known, { edges: [], lines: new Map(), events: [], from: 0 });
}

/** Windows from the first of these on are what is said now. */
function takeCourse(course) {
  if (!course || course.edges_s.length < 2) return;
  const first = course.edges_s[0];
  let keep = known.edges.findIndex((edge) => edge >= first - 1e-9);
  if (keep < 0) keep = Math.max(known.edges.length - 1, 0);
  const added = course.edges_s.length - 1;
  known.edges = [...known.edges.slice(0, keep), ...course.edges_s];
  for (const line of course.lines) {
    const key = [line.kind, line.of, line.name].join('\n');
    if (!known.lines.has(key)) known.lines.set(key, { kind: line.kind, of: line.of, name: line.name, columns: {} });
    const mine = known.lines.get(key);
    for (const name of Object.keys(line.columns)) if (!mine.columns[name]) mine.columns[name] = [];
  }
  const said = new Map(course.lines.map((line) => [[line.kind, line.of, line.name].join('\n'), line]));
  for (const [key, line] of known.lines) {
    for (const [name, values] of Object.entries(line.columns)) {
      while (values.length < keep) values.push(null);
      const now = said.get(key)?.columns[name] || Array(added).fill(null);
      line.columns[name] = [...values.slice(0, keep), ...now];
    }
  }
  const end = known.edges[known.edges.length - 1];
  let old = Math.max(known.edges.length - 1 - WINDOWS_MAX, 0);
  while (known.edges[old + 1] < end - KEPT_S) old++;
  if (old > 0) {
    known.edges = known.edges.slice(old);
    for (const line of known.lines.values()) for (const name of Object.keys(line.columns)) line.columns[name] = line.columns[name].slice(old);
  }
}

function takeEvents(from, events) {
  const had = known.from + known.events.length;
  if (!known.events.length) known.from = from;
  const fresh = events.slice(Math.max((known.events.length ? had : from) - from, 0));
  known.events.push(...fresh);
  return fresh;
}

function take(tick) {
  if (tick.is_all && tick.run === known.run) news.textContent = 'Too long away to go on: begun anew with the last five minutes.';
  if (tick.is_all || tick.run !== known.run) forget();
  const isOther = known.run !== null && tick.run !== known.run;
  known.run = tick.run;
  takeCourse(tick.course);
  const fresh = takeEvents(tick.from, tick.events);
  known.status = tick.status;
  known.zones = tick.zones;
  known.bounds = tick.bounds;
  known.silences = tick.silences;
  known.duration = tick.duration_s;
  if (isOther) news.textContent = 'Another run has begun.';
  const worth = fresh.filter((it) => ['fault_began', 'fault_ended', 'node_dead', 'node_back'].includes(it.kind));
  if (worth.length && !tick.is_all) news.textContent = worth.map((it) => it.what).join(', ');
  if (!isHeld) showSoon();
}

/** Once for all that comes at once: after a while away these are many. */
let isToShow = false;
function showSoon() {
  if (isToShow) return;
  isToShow = true;
  setTimeout(() => { isToShow = false; show(); }, 0);
}

/** Goes on after the last message that came, where the gateway still has what followed. */
function connect() {
  if (source) source.close();
  source = new EventSource('/api/stream' + (known.last ? '?last_event_id=' + encodeURIComponent(known.last) : ''));
  source.addEventListener('tick', (event) => {
    known.last = event.lastEventId;
    heard = performance.now();
    hasEnded = false;
    lost = null;
    tries = 0;
    take(JSON.parse(event.data));
    showState();
  });
  source.addEventListener('end', () => {
    hasEnded = true;
    source.close();
    showState();
  });
  source.onerror = () => {
    source.close();
    if (!hasEnded && lost === null) lost = performance.now();
    showState();
  };
}

setInterval(() => {
  if (hasEnded || document.hidden) return;
  const now = performance.now();
  if (lost === null && now - heard > SILENT_MS) lost = heard;
  if (lost !== null && now - lost > AGAIN_MS * (tries + 1)) {
    tries++;
    connect();
  }
  showState();
}, 500);
let hiddenAt = null;
document.addEventListener('visibilitychange', () => {
  if (document.hidden) hiddenAt = setTimeout(() => { if (source) source.close(); hiddenAt = 'closed'; }, 60_000);
  else if (hiddenAt === 'closed') { heard = performance.now(); connect(); }
  else clearTimeout(hiddenAt);
});

// Doing.

/** Sends something that changes the run. Says what the gateway answered. */
async function change(path, body, out) {
  if (!token) return askToken(() => change(path, body, out));
  let answer = '';
  try {
    const response = await fetch(path, { method: 'POST', body, headers: { Authorization: 'Bearer ' + token, 'Content-Type': 'application/yaml' } });
    const said = await response.json();
    if (response.status === 401) {
      token = '';
      answer = said.error + ' (' + (said.help || '') + ')';
      askToken(() => change(path, body, out));
    } else answer = response.ok ? done(said) : [said.error, said.help].filter(Boolean).join('\n');
  } catch (error) {
    answer = 'The gateway does not answer.';
  }
  if (out) out.textContent = answer;
  else news.textContent = answer;
  return null;
}

function done(said) {
  if (said.operations) return 'begun: operation ' + said.operations.join(', ') + (said.refused.length ? '; refused: ' + said.refused.join(', ') : '');
  if (said.begins_s !== undefined) return `begins at ${seconds(said.begins_s)}, ends at ${seconds(said.ends_s)}`;
  if (said.ends_s !== undefined) return `${said.what} ends at ${seconds(said.ends_s)}`;
  return 'the run is about to end';
}

function askToken(then) {
  const field = el('input', { type: 'password', 'aria-label': 'Token of the run', autocomplete: 'off' });
  const box = el('dialog', null, el('form', { method: 'dialog', submit: () => { token = field.value.trim(); box.remove(); if (token) then(); } },
    el('p', null, 'Whoever changes something shows the token of the run: it is in the link that the run prints, or in its token file.'),
    el('p', { class: 'act' }, field), el('button', null, 'Go on')));
  document.body.append(box);
  box.showModal();
  return null;
}

/** Nodes that the targets of a fault name: `a`, `[a, b]`, `zone x`, `all`. */
function nodesOf(targets) {
  const { status, zones } = known;
  const names = targets.replace(/[[\]]/g, '').split(',').map((it) => it.trim());
  const isHit = (node, i) => names.some((name) => name === 'all' || name === 'nodes' || name === node.name || name === 'zone ' + zones[i]);
  return status.nodes.filter(isHit);
}

/** What an order takes away, in a sentence, where that is worth a second thought. */
function harm(words) {
  const [, verb, targets] = /\b(undeploy|wipe|crash|pause|isolate|partition)\s*:\s*(\[[^\]]*\]|[^,]*)/.exec(words) || [];
  if (!verb) return null;
  if (verb === 'undeploy') return `This takes away all instances of ${targets.trim()}.`;
  if (verb === 'wipe') return 'This loses all that these machines hold.';
  const [hit, all] = [nodesOf(targets).length, known.status.nodes.length];
  return hit * 2 > all ? `This hits ${hit} of ${all} nodes.` : null;
}

/** A button that asks once, in its place. */
function sure(words, question, act) {
  const button = el('button', { type: 'button', 'data-change': true, click: () => {
    if (button.textContent === question) { button.textContent = words; act(); return; }
    button.textContent = question;
    setTimeout(() => { button.textContent = words; }, 4000);
  } }, words);
  return button;
}

// What stands there.

const lines = (kind) => [...known.lines.values()].filter((line) => line.kind === kind);
const value = (line, name, i) => line?.columns[name]?.[i] ?? null;

/** All loads together, where counts are added up and latencies are the highest. */
function together() {
  const loads = lines('load');
  const windows = Math.max(known.edges.length - 1, 0);
  const all = {};
  for (const name of ['offered', 'done', 'failed', 'unfinished', 'in_flight_mean']) {
    all[name] = Array.from({ length: windows }, (_, i) => loads.reduce((sum_, load) => sum_ + (value(load, name, i) || 0), 0));
  }
  for (const name of ['p50_ns', 'p90_ns', 'p99_ns', 'max_ns']) {
    all[name] = Array.from({ length: windows }, (_, i) => loads.reduce((high, load) => Math.max(high, value(load, name, i) || 0), 0) || null);
  }
  return all;
}

function laneBars() {
  const end = known.edges[known.edges.length - 1] || 0;
  const begin = known.edges[0] || 0;
  const bars = new Map();
  const marks = [];
  for (const it of known.events) {
    if (it.kind === 'fault_began') bars.set('f' + it.fault, { is_fault: true, what: it.what, from_s: it.at_s, to_s: Math.min(it.until_s ?? end, end), ticks: [] });
    else if (it.kind === 'fault_ended' && bars.has('f' + it.fault)) bars.get('f' + it.fault).to_s = it.at_s;
    else if (it.kind === 'operation_began' && !it.what.startsWith('repair') && !(it.what.startsWith('deploy') && it.at_s < 1)) {
      bars.set('o' + it.operation, { is_fault: false, what: it.what, from_s: it.at_s, to_s: it.at_s, ticks: [] });
    } else if (it.kind === 'step_decided' && bars.has('o' + it.operation)) {
      // One that decides no step ends at once, and settles without a word.
      Object.assign(bars.get('o' + it.operation), { to_s: end }).ticks.push(it.at_s);
    } else if (it.kind === 'operation_settled' && bars.has('o' + it.operation)) bars.get('o' + it.operation).to_s = it.at_s;
    else if (it.kind === 'node_dead') marks.push({ at_s: it.at_s, what: it.node + ' dead' });
    else if (it.kind === 'node_back' && it.at_s > 1) marks.push({ at_s: it.at_s, what: it.node + ' back' });
  }
  const all = [...bars.values()].filter((bar) => bar.to_s >= begin).sort((a, b) => a.from_s - b.from_s);
  return { bars: all, marks: marks.sort((a, b) => a.at_s - b.at_s) };
}

function drawCourse(frame) {
  const all = together();
  const { bars, marks } = laneBars();
  const [first, after] = frame.view.range;
  const { edges } = frame.view;
  let y = lanes(frame, 2, bars, marks, 6);
  const shadesFrom = y;

  y = panelName(frame, y + 6, 'Requests', 'a second', 'done, failed, open');
  let tall = frame.isNarrow ? 56 : 74;
  const rate = (name) => all[name].map((n, i) => n / (edges[i + 1] - edges[i]));
  const offered = rate('offered');
  const top = Math.max(ticks(0, most(offered.slice(first, after)) * 1.02 || 1, 2).pop() || 1, most(offered.slice(first, after))) || 1;
  for (const tick of ticks(0, top, 2)) {
    const place = y + tall - (tick / top) * tall;
    rule(frame, frame.left, place, frame.right, place, 'grid');
    text(frame, frame.left - 8, place + 4, figure(tick), 'end');
  }
  columns(frame, y, tall, top, [[rate('done'), 'done'], [rate('failed'), 'failed'], [rate('unfinished'), 'open']]);
  y += tall + 14;

  y = panelName(frame, y + 6, 'Latency', 'log scale', 'grey dots: max');
  tall = frame.isNarrow ? 110 : 150;
  const lowest = all.p50_ns.slice(first, after).reduce((a, b) => (b > 0 && b < a ? b : a), Infinity);
  if (lowest < Infinity) {
    const highest = most(all.max_ns.slice(first, after));
    const bounds = known.bounds.filter((it) => it.target === null);
    const from = 10 ** Math.floor(Math.log10(lowest));
    // A bound far above all is not worth the room.
    const reach = Math.max(highest, ...bounds.map((it) => Math.min(it.ns, highest * 4)));
    const to = 10 ** Math.ceil(Math.log10(Math.max(reach, from * 1.01)));
    const scale = logarithmic(from, to, y + tall, y);
    for (const tick of decades(from, to)) {
      rule(frame, frame.left, scale(tick), frame.right, scale(tick), 'grid');
      if (/^1(e|0*$)/.test(String(tick)) || to / from < 2000) text(frame, frame.left - 8, scale(tick) + 4, time(tick), 'end');
    }
    boundLines(frame, scale, bounds, [from, to]);
    const weight = (share) => (i) => {
      const beyond = all.done[i] * share + 1e-6;
      return beyond >= BEYOND_MIN ? 2 : beyond >= 1 ? 1 : 0;
    };
    const dots = all.max_ns.map((ns, i) => (ns > 0 && i >= first && i < after
      ? `M${frame.x((edges[i] + edges[i + 1]) / 2).toFixed(2)} ${scale(ns).toFixed(2)}h.01` : '')).join('');
    if (dots) frame.svg.append(svg('path', { d: dots, class: 'line max', 'stroke-linecap': 'round', 'stroke-width': 2.2 }));
    line(frame, scale, all.p50_ns, 'p50', weight(0.5));
    line(frame, scale, all.p90_ns, 'p90', weight(0.1));
    line(frame, scale, all.p99_ns, 'p99', weight(0.01));
    const end = (name) => {
      const ns = all[name + '_ns'].slice(first, after).filter((it) => it > 0).pop();
      return ns ? [scale(ns), `${name} ${time(ns)}`, name === 'p99' ? 'strong' : ''] : null;
    };
    endLabels(frame, [end('p99'), end('p90'), end('p50')]);
  } else text(frame, frame.left, y + 20, 'Nothing was answered.');
  y += tall + 10;

  y = panelName(frame, y + 6, 'In flight', 'mean of a window');
  tall = 44;
  const highest = most(all.in_flight_mean.slice(first, after)) || 1;
  for (const tick of ticks(0, highest, 2)) {
    const place = y + tall - (tick / highest) * tall;
    rule(frame, frame.left, place, frame.right, place, 'grid');
    text(frame, frame.left - 8, place + 4, figure(tick), 'end');
  }
  // Of the window that has just begun nothing is known yet.
  const flight = all.in_flight_mean.map((n, i) => (i === all.in_flight_mean.length - 1 && !n ? null : n));
  line(frame, linear(0, highest, y + tall, y), flight, 'p90');
  y += tall + 6;
  shades(frame, shadesFrom, y, bars);
  for (const [, from, to] of known.silences) {
    const [x1, x2] = [Math.max(frame.x(from), frame.left), Math.min(frame.x(to ?? edges[edges.length - 1]), frame.right)];
    if (x2 > x1) rect(frame, x1, shadesFrom, x2 - x1, y - shadesFrom, 'veil');
  }
  rule(frame, frame.right, shadesFrom, frame.right, y, 'now');
  return timeAxis(frame, y);
}

function say(i) {
  const all = together();
  const parts = [`${between(known.edges[i], known.edges[i + 1])}: ${count(all.offered[i])} due, ${count(all.done[i])} done`];
  if (all.failed[i]) parts.push(count(all.failed[i]) + ' failed');
  if (all.unfinished[i]) parts.push(count(all.unfinished[i]) + ' open');
  for (const [name, share] of [['p50', 0.5], ['p90', 0.1], ['p99', 0.01]]) {
    const ns = all[name + '_ns'][i];
    const beyond = Math.floor(all.done[i] * share);
    if (ns) parts.push(`${name} ${time(ns)}${beyond < BEYOND_MIN ? ` (${beyond} beyond)` : ''}`);
  }
  return parts.join(', ');
}

/** A small course: as many pixels as there is room. */
function spark(values, kind) {
  const [width, height] = [96, 18];
  const highest = most(values) || 1;
  const x = linear(0, Math.max(values.length - 1, 1), 1, width - 1);
  let path = '';
  let isOn = false;
  values.forEach((it, i) => {
    if (it === null) { isOn = false; return; }
    path += `${isOn ? 'L' : 'M'}${x(i).toFixed(1)} ${(height - 1.5 - (it / highest) * (height - 3)).toFixed(1)}`;
    isOn = true;
  });
  return svg('svg', { class: 'spark', viewBox: `0 0 ${width} ${height}`, 'aria-hidden': 'true' }, svg('path', { d: path || 'M0 0', class: 'line ' + kind }));
}

/** Windows of the last so many seconds that have ended: first, and after the last. */
function lately(secs) {
  const end = known.status.time_s;
  const after = known.edges.findIndex((edge, i) => i > 0 && edge > end - 1e-9);
  const last = after < 0 ? known.edges.length - 1 : after - 1;
  let first = last;
  while (first > 0 && known.edges[first - 1] >= known.edges[last] - secs - 1e-9) first--;
  return [first, last];
}

const over = (line, name, [first, after]) => sum((line?.columns[name] || []).slice(first, after));

function services() {
  const ten = lately(10);
  const span = Math.max(known.edges[ten[1]] - known.edges[ten[0]], 1e-9);
  const [from] = view.range;
  /** The figures of a service or a version, behind what it is. */
  const figures = (mine, ...head) => {
    const [offered, failed] = [over(mine, 'offered', ten), over(mine, 'failed', ten)];
    const [slots, used] = [over(mine, 'slots', ten), over(mine, 'slots_in_use', ten)];
    const p90 = most((mine?.columns.p90_ns || []).slice(...ten));
    return [...head,
      el('td', { class: 'n' }, figure(offered / span) + '/s'),
      el('td', { class: 'wide' }, spark((mine?.columns.slots_in_use || []).slice(from), 'p90')),
      el('td', { class: 'n' }, slots ? percent(used / slots) : NONE),
      el('td', { class: 'wide' }, spark((mine?.columns.p90_ns || []).slice(from), 'p99')),
      el('td', { class: 'n' }, p90 ? time(p90) : NONE),
      el('td', { class: 'n' + (failed ? ' bad' : '') }, offered ? percent(failed / offered) : NONE)];
  };
  const rows = known.status.services.flatMap((it) => {
    const mine = lines('service').find((one) => one.name === it.name);
    const isShort = it.ready !== it.instances;
    const row = el('tr', { 'data-service': it.name }, figures(mine,
      el('td', null, el('b', { title: it.name }, short(it.name, 24))),
      el('td', { class: 'n' + (isShort ? ' bad' : ''), 'data-value': it.ready, title: isShort ? `${it.instances} wanted, ${it.ready} take requests` : null }, `${it.instances} / ${it.ready}`),
      el('td', { class: 'n wide' }, figure(it.capacity)), el('td', { class: 'n' }, figure(it.version))));
    // During a rollout each version has its own figures.
    const isThere = (one) => over(one, 'instances_ready', lately(1)) > 0 || over(one, 'offered', ten) > 0;
    const versions = lines('version').filter((one) => one.of === it.name && isThere(one));
    if (versions.length < 2) return [row];
    return [row, ...versions.sort((a, b) => a.name - b.name).map((one) => el('tr', { 'data-version': one.name, class: 'version' }, figures(one,
      el('td', { title: 'version ' + one.name }, 'v' + one.name),
      el('td', { class: 'n' }, figure(over(one, 'instances_ready', lately(1)))),
      el('td', { class: 'n wide' }), el('td', { class: 'n' }, one.name))))];
  });
  const heads = ['service', 'S / ready', 'C', 'V', 'offered', 'slots in use', '', 'p90', '', 'failed'];
  const kinds = ['', 'n', 'n wide', 'n', 'n', 'wide', 'n', 'wide', 'n', 'n'];
  return el('table', { class: 'full', 'data-table': 'services' },
    el('thead', null, el('tr', null, heads.map((head, i) => el('th', { scope: 'col', class: kinds[i] || null }, head)))),
    el('tbody', null, rows));
}

/** The SLOs, as they come out by now, from whole windows. */
function slos() {
  return el('ul', { class: 'slos' }, known.status.slo.map((it) => {
    const [mark, kind] = { pass: ['✓ holds', 'pass'], fail: ['✕ fails', 'fail'] }[it.outcome] || ['? open', 'unknown'];
    return el('li', { 'data-slo': it.slo, 'data-outcome': it.outcome, title: it.remark },
      el('span', { class: kind }, mark), el('span', { title: it.slo }, short(it.slo, 48)), el('b', { 'data-value': it.figure }, it.figure === null ? NONE : it.figure_text));
  }));
}

function nodes() {
  const { status } = known;
  const order = status.nodes.map((node, i) => [known.zones[i] || '', node]).sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
  const seen = {};
  for (const it of known.events) if (['node_dead', 'node_back', 'node_left'].includes(it.kind)) seen[it.node] = it.at_s;
  return el('div', { class: 'nodes' }, order.slice(0, 60).map(([zone, node]) => {
    const process_ = status.processes[node.process];
    // A node that is drained or in reserve runs: nothing more is placed on it.
    const isUp = ['alive', 'cordoned', 'reserve'].includes(node.state);
    const word = node.state === 'alive' ? 'up' : node.state;
    const silent = status.silent.find((it) => it.actor === node.name);
    return el('div', { class: isUp ? null : 'down', 'data-node': node.name },
      zone ? el('div', { class: 'mut' }, short(zone, 18)) : null,
      el('b', { title: node.name }, short(node.name, 18)), ' ',
      isUp ? el('span', { class: silent ? 'bad' : 'mut' }, silent ? 'silent' : word) : el('span', { class: 'bad' }, '✕ ' + node.state),
      el('div', null, isUp ? `${node.instances} instances` : `since ${seconds(Number((seen[node.name] ?? 0).toFixed(1)))}`),
      process_ ? el('code', null, `${short(process_.hostname, 14)} ${process_.pid}`) : null);
  }), order.length > 60 ? el('div', null, `and ${order.length - 60} more`) : null);
}

function heads() {
  const { status } = known;
  const last = status.recent[status.recent.length - 1];
  const ten = lately(10);
  const all = together();
  const total = (name) => sum(all[name].slice(...ten));
  const share = total('offered') ? total('failed') / total('offered') : null;
  const block = (figure_, words, isBad) => el('div', { class: isBad ? 'bad' : null }, el('b', null, figure_), el('span', { class: 'mut' }, words));
  if (!last) return el('div', { class: 'heads' }, el('div', null, known.edges.length ? 'No request is due now.' : 'Waiting for the first requests.'));
  const length = last.to_s - last.from_s;
  return el('div', { class: 'heads', 'data-window': `${last.from_s}` },
    block(figure(last.offered / length) + '/s', `due from ${between(last.from_s, last.to_s)}`),
    block(count(last.done), last.open ? `answered, ${count(last.open)} still open` : 'answered'),
    block(percent(share), 'failed, of the last 10 s', share > 0),
    block(time(last.p50_ns), 'p50'), block(time(last.p90_ns), 'p90'),
    block(figure(most(all.in_flight_mean.slice(...lately(1)))), 'in flight, on average'));
}

function events() {
  const shown = [];
  for (const it of known.events) {
    if (it.kind.startsWith('step_') || it.kind.startsWith('instance_')) continue;
    const isRepair = it.what.startsWith('repair ');
    if (isRepair && it.kind === 'operation_settled') continue;
    const last = shown[shown.length - 1];
    // What the coordinator repairs at once is one line.
    if (isRepair && last && last.services && it.at_s - last.at_s < 1) {
      last.services.push(it.service);
      last.what = `${last.services.length} services repaired: ${last.services.join(', ')}`;
    } else shown.push(isRepair ? { at_s: it.at_s, kind: 'repaired', what: it.service + ' repaired', services: [it.service] } : it);
  }
  return el('ul', { class: 'events' }, shown.slice(-EVENTS_SHOWN).reverse().map((it) => {
    const word = { fault_began: 'fault began: ', fault_ended: 'fault ended: ', operation_began: 'began: ', operation_settled: 'settled: ' }[it.kind] || '';
    const kind = ['fault_began', 'node_dead'].includes(it.kind) ? 'bad' : it.kind.startsWith('operation') || ['rollout', 'analysis', 'autoscaled'].includes(it.kind) ? 'op' : null;
    return el('li', null, el('time', null, seconds(Number(it.at_s.toFixed(2)))), el('span', { class: kind }, word + it.what));
  }));
}

// The page: built once, filled every second.

const parts = {};

function build() {
  const readout = el('p', { class: 'readout', 'data-hint': 'Point at a window for its figures.' });
  readout.say = say;
  view = new View(known.edges);
  const course = el('div', null, readout, timePlot(view, 'Requests, latency and requests in flight over time', drawCourse, readout));
  Object.assign(parts, { heads: el('div'), slos: el('div'), services: el('div', { class: 'scroll' }), nodes: el('div'), events: el('div') });
  page.replaceChildren(parts.heads, el('div', { class: 'sides' },
    el('div', null, course, el('h2', null, 'Services'), parts.services),
    el('aside', null, known.status.slo.length ? el('h2', null, 'SLOs, so far') : null, parts.slos, el('h2', null, 'Nodes'), parts.nodes, el('h2', null, 'Do something'), acting(), el('h2', null, 'Events'), parts.events,
      el('p', { class: 'mut' }, 'meshsim ctl events --follow prints the same lines.'))));
  let width = 0;
  new ResizeObserver(() => {
    if (page.clientWidth === width) return;
    width = page.clientWidth;
    view.redraw();
  }).observe(page);
}

/** Operations and faults, written as in the file. */
function acting() {
  const service = known.status.services[0];
  const lines_ = {
    extend: () => `extend: ${service.name}, to: ${service.instances + 1}, rate: 1`,
    scale: () => `scale: ${service.name}, by: 2, times: 1`,
    update: () => `update: ${service.name}, to: ${Math.ceil(service.version) + 1}, strategy: rolling`,
    fault: () => `crash: ${known.status.nodes[0]?.name}, for: 10s`,
  };
  const out = el('pre', { 'aria-live': 'polite' });
  const field = el('input', { name: 'line', 'aria-label': 'Operation or fault, as in the experiment file', spellcheck: 'false', value: service ? lines_.extend() : '' });
  const verb = el('select', { 'aria-label': 'What', change: () => { field.value = lines_[verb.value](); field.focus(); } }, Object.keys(lines_).map((it) => el('option', null, it)));
  const button = el('button', { 'data-change': true }, 'Do it');
  const unsure = () => {
    if (out.dataset.sure) out.textContent = '';
    delete out.dataset.sure;
    button.textContent = 'Do it';
  };
  const form = el('form', { class: 'act', submit: (event) => {
    event.preventDefault();
    const words = field.value.trim().replace(/^\{|\}$/g, '');
    const isOperation = new RegExp(`\\b(${page.dataset.operations})\\s*:`).test(words);
    const why = harm(words);
    if (why && out.dataset.sure !== words) {
      out.dataset.sure = words;
      out.textContent = why + ' Once more to do it.';
      button.textContent = 'Really do it';
      return;
    }
    unsure();
    change(isOperation ? '/api/operations' : '/api/faults', `{ ${words} }`, out);
  }, input: () => unsure() }, el('div', null, verb, field), el('div', null, button,
    el('span', { class: 'mut' }, 'As the experiment file and meshsim ctl say it; checked before it is done.')), out);
  parts.field = field;
  return form;
}

const bar = document.getElementById('bar');
const state = el('span', { class: 'mut' });
const hold = el('button', { type: 'button', 'aria-pressed': 'false', click: () => holdDisplay() }, 'Hold display');
function holdDisplay() {
  isHeld = !isHeld;
  hold.setAttribute('aria-pressed', String(isHeld));
  if (!isHeld) show();
}
const spans = [[30, '30 s'], [120, '2 min'], [KEPT_S, '5 min']].map(([secs, words]) => {
  const button = el('button', { type: 'button', 'aria-pressed': String(secs === extent), click: () => {
    extent = secs;
    spans.forEach((other) => other.setAttribute('aria-pressed', String(other === button)));
    show();
  } }, words);
  return button;
});
bar.append(state, el('span', { class: 'tools' }, 'last', ...spans, hold, sure('Stop the run …', 'Really end it?', () => change('/api/stop', '', null))));

function show() {
  if (!known.status) return;
  if (!view) build();
  view.edges = known.edges.length > 1 ? known.edges : [0, 1];
  view.whole = [view.edges[0], view.edges[view.edges.length - 1]];
  const cursor = view.cursor;
  view.cursor = null;
  view.zoom(view.whole[1] - extent, view.whole[1], true);
  view.point(cursor !== null && cursor < view.windows ? cursor : null);
  parts.heads.replaceChildren(heads());
  parts.slos.replaceChildren(slos());
  parts.services.replaceChildren(services());
  parts.nodes.replaceChildren(nodes());
  parts.events.replaceChildren(events());
  page.dataset.windows = known.edges.length - 1;
  page.dataset.last = known.edges[known.edges.length - 1] ?? '';
}

function fault(it) {
  const left = it.until_s === null ? 'to the end of the run' : `${Math.max(0, Math.round(it.until_s - known.status.time_s))} s left`;
  return el('div', { class: 'banner', 'data-fault': it.fault }, el('b', null, it.what), el('span', null, `since ${seconds(Number(it.from_s.toFixed(1)))}, ${left}`),
    el('button', { type: 'button', 'data-change': true, click: () => change(`/api/faults/${it.fault}/heal`, '', null) }, 'Heal now'));
}

function rollout(it) {
  const steer = (word) => change('/api/operations', `{ ${word}_rollout: ${JSON.stringify(it.service)} }`, null);
  const button = (word, label) => el('button', { type: 'button', 'data-change': true, click: () => steer(word) }, label);
  return el('div', { class: 'banner wait', 'data-rollout': it.operation }, el('b', null, `rollout ${it.service} to ${it.to}`),
    el('span', null, [it.standing, it.measured].filter(Boolean).join('; ')),
    it.paused ? button('resume', 'Resume') : button('pause', 'Pause'), button('abort', 'Abort'));
}

/** What stands on top of all: whether it is live, faults that hold, a connection that is lost, an end. */
function showState() {
  const { status } = known;
  const isOff = hasEnded || lost !== null;
  const phase = !status ? 'connecting' : hasEnded ? 'ended' : lost !== null ? 'no news since' : status.phase === 'waiting' ? 'starting' : 'live,';
  state.replaceChildren(el('span', { class: 'dot' + (isOff ? ' off' : '') }, '● '), `${phase} ${status && status.phase !== 'waiting' ? seconds(Number(status.time_s.toFixed(1))) : ''}`,
    status ? ` · ${count(status.nodes.length)} nodes, ${count(status.processes.length)} processes · seed ${status.seed}` : '');
  const all = [];
  if (hasEnded) all.push(el('div', { class: 'banner wait', 'data-state': 'ended' }, el('b', null, 'The run has ended.'), el('span', null, 'Its results are where it was started; this page keeps what it had.')));
  else if (lost !== null) {
    const gone = Math.round((performance.now() - lost) / 1000);
    all.push(el('div', { class: 'banner wait', 'data-state': 'lost' }, el('b', null, 'Connection lost'), el('span', null, `${gone} s ago; tried again ${tries === 1 ? 'once' : tries + ' times'}.`),
      el('button', { type: 'button', click: () => { tries++; connect(); } }, 'Now')));
  }
  if (status && !hasEnded) {
    if (status.phase === 'waiting') {
      all.push(el('div', { class: 'banner wait', 'data-state': 'waiting' }, el('b', null, 'Starting'), el('span', null, `waiting for ${status.missing.slice(0, 8).join(', ')}${status.missing.length > 8 ? ` and ${status.missing.length - 8} more` : ''}`)));
    }
    const { faults } = status;
    const shown = faults.length > 3 ? faults.slice(-2) : faults;
    all.push(...shown.map(fault));
    if (shown.length < faults.length) all.push(el('div', { class: 'banner' }, el('b', null, `and ${faults.length - shown.length} more faults`), el('span', null, 'meshsim ctl status names them.')));
    all.push(...(status.rollouts || []).map(rollout));
    for (const it of status.silent) all.push(el('div', { class: 'banner wait', 'data-silent': it.actor }, el('b', null, `${it.actor} is silent`), el('span', null, `since ${seconds(Number(it.since_s.toFixed(1)))}: its figures are missing.`)));
  }
  // One that is pressed, or has the keyboard, stays the same button.
  const key = JSON.stringify([hasEnded, lost !== null, status?.phase, status?.missing, status?.faults.map((it) => it.fault), status?.rollouts?.map((it) => [it.operation, it.paused]), status?.silent]);
  if (banners.dataset.key !== key) {
    banners.dataset.key = key;
    banners.replaceChildren(...all);
  } else {
    [...banners.children].forEach((old, i) => { old.children[1].textContent = all[i].children[1].textContent; });
  }
  page.classList.toggle('pale', isOff);
  document.querySelectorAll('[data-change]').forEach((button) => { button.disabled = isOff; });
}

document.addEventListener('keydown', (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest('input, select, textarea, dialog, button')) return;
  if (event.key === ' ') holdDisplay();
  else if (event.key === 'h') [...document.querySelectorAll('[data-fault] button')].pop()?.click();
  else if (event.key === 'a') parts.field?.focus();
  else if (!view || !event.key.startsWith('Arrow') || !timeKey(view, event)) return;
  event.preventDefault();
});
showState();
connect();
