// What the explorer shows of a run: the course, a request, messages in space and time, steps, who calls whom, and beside
// them what is known of a message and of an actor. It asks its server; as a file of its own it has all answers with it.

const ANSWERS = JSON.parse(document.getElementById('data').textContent);
const asked = new URLSearchParams(location.hash.slice(1));
/** Nanoseconds. */
const SECOND = 1e9;
const LEAST_EXTENT = 1000;
const KIND_WORDS = { queue: 'waiting for a slot', work: 'work', cores: 'waiting for a core', sleep: 'sleep', network: 'on the way', retry: 'pause before a retry', below: 'waits for its calls' };

let run = null;
let view = null;
let space = null;
let drawn = null;
let told = null;
let found = null;
/** The token that forks need: out of the address at once, and kept in this page alone. */
let token = asked.get('token') || '';
if (asked.has('token')) {
  asked.delete('token');
  history.replaceState(null, '', '#' + asked);
}
/** What is looked at: extent, moment, request, record, actor, filter. */
const look = { t: null, at: null, req: null, rec: null, who: null, q: '' };

// Answers.

const waiting = new Map();

/** Asks for something; a question of the same kind before it is not waited for. */
async function ask(kind, path) {
  if (ANSWERS) return own(path);
  waiting.get(kind)?.abort();
  const stop = new AbortController();
  waiting.set(kind, stop);
  let response;
  try {
    response = await fetch(path, { signal: stop.signal });
  } catch (error) {
    if (error.name !== 'AbortError') banner('Nobody answers any more. Start `meshsim explore` again; what is shown stays.');
    throw error;
  }
  banner('');
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.message), answer);
  return answer;
}

/** The answer that the file has. */
function own(path) {
  const url = new URL(path, 'http://file/');
  const word = (name) => url.searchParams.get(name);
  const none = (message) => Object.assign(new Error(message), { help: 'this file holds a part of the run: `meshsim explore` shows all of it' });
  switch (url.pathname) {
    case '/api/run': return ANSWERS.run;
    case '/api/messages': return marked(ANSWERS.extent, word('request'));
    case '/api/request': {
      const it = ANSWERS.requests[word('name')];
      if (!it) throw none(`${word('name')} is not in this file`);
      return it;
    }
    case '/api/requests': return ANSWERS.run.requests;
    case '/api/record': {
      const it = ANSWERS.records[word('n')];
      if (!it) throw none('what it follows from is not in this file');
      return it;
    }
    case '/api/steps': return ANSWERS.steps;
    default: throw none('this is not in this file');
  }
}

/** The messages with those of a request marked. */
function marked(extent, request) {
  const roots = ANSWERS.roots[request];
  const mine = new Set(roots || []);
  return { ...extent, fate: extent.fate.map((it, i) => (mine.has(extent.record[i]) ? it | FATE.OWN : it & ~FATE.OWN)) };
}

/** What goes wrong with a question is said where the answer would stand. */
async function answered(part, question, show) {
  try {
    show(await question());
    part.remove_?.();
  } catch (error) {
    if (error.name === 'AbortError') return;
    if (!(error instanceof Error)) throw error;
    part.replaceChildren(el('p', { class: 'remark' }, error.message + (error.help ? '. ' + error.help : '')));
  }
}

function banner(words) {
  const there = document.querySelector('.banner');
  if (!words) { there?.remove(); return; }
  if (there) there.textContent = words;
  else document.querySelector('main').prepend(el('p', { class: 'banner', role: 'alert' }, words));
}

// Addresses.

const secondsText = (ns) => String(Number((ns / SECOND).toFixed(9)));

function remember(isNew) {
  const set = (name, value) => { if (value === null || value === '') asked.delete(name); else asked.set(name, value); };
  set('t', look.t ? `${secondsText(look.t[0])}..${secondsText(look.t[1])}` : null);
  set('at', look.at === null ? null : secondsText(look.at));
  set('req', look.req);
  set('rec', look.rec);
  set('who', look.who);
  set('q', look.q);
  const address = '#' + asked.toString().replaceAll('%2F', '/').replaceAll('%23', '#');
  if (address === location.hash) return;
  history[isNew ? 'pushState' : 'replaceState'](null, '', address);
}

function recall() {
  for (const name of [...asked.keys()]) asked.delete(name);
  new URLSearchParams(location.hash.slice(1)).forEach((value, name) => asked.set(name, value));
  const number = (name) => (asked.has(name) && Number.isFinite(Number(asked.get(name))) ? Number(asked.get(name)) : null);
  const [from, to] = (asked.get('t') || '').split('..').map(Number);
  look.t = to > from ? fitted(from * SECOND, to * SECOND) : null;
  look.at = number('at') === null ? null : number('at') * SECOND;
  [look.req, look.rec, look.who, look.q] = [asked.get('req'), number('rec'), number('who'), asked.get('q') || ''];
}

// Parts of the page.

function part(where, id, title) {
  const why = el('span', { class: 'why' });
  const tools = el('div', { class: 'tools' });
  const body = el('div', { class: 'body' });
  const made = el('section', { class: 'figure', id }, el('header', null, el('h2', null, title), why, tools), body);
  document.getElementById(where).append(made);
  return { made, head: made.querySelector('h2'), why, tools, body };
}

const parts = {};

function button(words, click, more) {
  return el('button', { type: 'button', click, ...more }, words);
}

const when = (ns) => `${Number((ns / SECOND).toFixed(6))} s`;
const actorName = (id) => run.actors[id]?.name ?? 'nobody';

function build() {
  const bar = document.getElementById('bar');
  const facts = el('span', { class: 'mut facts' }, `${count(run.messages)} messages, ${ANSWERS ? windowWords() : run.trouble ? 'as far as the trace goes' : 'whole trace'}`);
  const moment = el('input', { type: 'text', id: 'moment', size: 11, 'aria-label': 'Moment, in seconds', change: () => goTo(moment.value), keydown: (event) => { if (event.key === 'Escape') moment.blur(); } });
  const filter = el('input', { type: 'search', id: 'filter', placeholder: 'filter: lost, type == ack, took > 100ms', 'aria-label': 'Filter', autocomplete: 'off', spellcheck: 'false', change: () => search(filter.value, true), keydown: (event) => { if (event.key === 'Escape') filter.blur(); } });
  const matched = el('span', { class: 'mut', id: 'matched', role: 'status' });
  const tools = el('div', { class: 'tools' }, button('Copy link', copyLink), ['auto', 'light', 'dark'].map((name) => button(name, () => theme(name), { 'data-name': name })), button('Keys', help));
  bar.append(facts, el('span', { class: 'steps' }, button('‹', () => shift(-0.5), { 'aria-label': 'earlier' }), button('›', () => shift(0.5), { 'aria-label': 'later' })), moment);
  if (!ANSWERS) bar.append(filter, matched);
  bar.append(tools, el('pre', { id: 'wrong', hidden: true }));
  parts.course = part('course', 'the-course', 'The course');
  parts.request = part('left', 'the-request', 'Request');
  parts.space = part('left', 'the-space', 'Who said what to whom');
  const two = el('div', { class: 'two', id: 'two' });
  document.getElementById('left').append(two);
  parts.steps = part('two', 'the-steps', 'Steps');
  parts.graph = part('two', 'the-graph', 'Who calls whom');
  parts.message = part('right', 'the-message', 'Message');
  parts.because = part('right', 'the-because', 'Because of');
  parts.after = part('right', 'the-after', 'And so');
  parts.actor = part('right', 'the-actor', 'Actor');
  parts.fork = part('right', 'the-fork', 'What if?');
  buildFork();
  parts.course.made.classList.add('quiet');
  buildSpace();
}

function windowWords() {
  return `those from ${when(ANSWERS.extent.from_ns)} to ${when(ANSWERS.extent.to_ns)} are in this file`;
}

// The extent: what all parts show.

const whole = () => (ANSWERS ? [ANSWERS.extent.from_ns, ANSWERS.extent.to_ns] : [0, Math.max(run.last_ns, run.page.summary.reached_s * SECOND, LEAST_EXTENT)]);

/** An extent of the run, with no part beyond it. */
function fitted(from, to) {
  const [first, last] = whole();
  const wide_ = Math.min(Math.max(to - from, LEAST_EXTENT), last - first);
  const middle = (from + to) / 2;
  const begin = Math.min(Math.max(middle - wide_ / 2, first), last - wide_);
  return [Math.round(begin), Math.round(begin + wide_)];
}

function setExtent(from, to, isNew) {
  look.t = fitted(from, to);
  space.extent = look.t;
  paintExtent();
  if (isNew) remember(true);
  loadSoon();
}

let frames = 0;
/** Draws what depends on the extent, once a frame. */
function paintExtent() {
  if (frames) return;
  frames = requestAnimationFrame(() => {
    frames = 0;
    drawBoxes();
    space.draw();
    sayExtent();
  });
}

function zoomAt(at, factor) {
  const [from, to] = look.t;
  setExtent(at - (at - from) * factor, at + (to - at) * factor, false);
}

function shift(share) {
  const span = look.t[1] - look.t[0];
  setExtent(look.t[0] + span * share, look.t[1] + span * share, true);
}

/** Goes to a moment that somebody wrote: `80.83`, `80.83 s`. */
function goTo(words) {
  const at = Number(words.replace(/s\s*$/, '')) * SECOND;
  if (!Number.isFinite(at) || words.trim() === '') { sayMoment(); return; }
  point(at);
  const span = look.t[1] - look.t[0];
  setExtent(at - span / 2, at + span / 2, true);
}

/** The moment that is looked at. */
function point(at) {
  look.at = at;
  space.cursor = at;
  space.drawAbove();
  drawBoxes();
  sayMoment();
  loadActorSoon();
  showFork();
}

function sayMoment() {
  document.getElementById('moment').value = look.at === null ? '' : when(look.at);
}

function sayExtent() {
  const { seen, messages } = space;
  const [from, to] = look.t;
  const span = time(to - from);
  if (!seen || !messages) return;
  const isAll = covers(messages);
  const [all, lost, mine] = isAll ? [seen.all, seen.lost, seen.own] : [messages.total, messages.lost, messages.own];
  const say = [`${Number((from / SECOND).toFixed(6))} to ${when(to)}, ${span}`, `${count(all)} ${all === 1 ? 'message' : 'messages'}`];
  if (lost) say.push(`${count(lost)} lost`);
  let words = say.join(' · ');
  if (space.matches) words += `; ${count(seen.matched)} that match in full, the rest pale`;
  else if (look.req && mine) words += `; ${count(mine)} of this request in full, the rest pale`;
  if (all > LINES_MAX) words += '; as densities, red: lost';
  parts.space.why.textContent = words;
  space.box.setAttribute('aria-label', `Messages between actors: ${words}. Arrows choose one, + and - zoom.`);
}

// The course.

function drawCourse() {
  const { body } = parts.course;
  const { page } = run;
  const { course } = page;
  body.replaceChildren();
  const readout = el('p', { class: 'readout', role: 'status', 'data-hint': 'Click a moment for its slowest request; drag for an extent.' });
  const box = el('div', { class: 'plot', tabindex: 0, role: 'group', 'aria-label': 'The course of the run: arrows move by a window, Enter shows its slowest request' });
  const picture = svg('svg', { role: 'img', 'aria-label': courseWords() });
  box.append(picture);
  body.append(box, readout);
  if (!course || course.edges_s.length < 2) { view = new View([0, run.page.summary.reached_s || 1]); } else view = new View(course.edges_s);
  const width = Math.floor(box.clientWidth);
  if (!width) return;
  const isNarrow = width < 620;
  const frame = { width, left: isNarrow ? 44 : 66, right: width - (isNarrow ? 12 : 34), isNarrow, svg: picture, box, view };
  frame.x = linear(view.extent[0], view.extent[1], frame.left, frame.right);
  let y = lanes(frame, 2, page.lanes.bars, [], 4);
  const top = y;
  const loads = course ? linesOf(course, 'load') : [];
  if (loads.length) {
    const busiest = loads.reduce((a, b) => (total(b, 'offered') > total(a, 'offered') ? b : a));
    const p50 = column(busiest, 'p50_ns').filter((it) => it > 0);
    const p99 = column(busiest, 'p99_ns').filter((it) => it > 0);
    if (p50.length) {
      const low = 10 ** Math.floor(Math.log10(p50.reduce((a, b) => Math.min(a, b))));
      const high = Math.max(10 ** Math.ceil(Math.log10(most(p99) * 1.001)), low * 10);
      const scale = logarithmic(low, high, y + 50, y + 4);
      for (let at_ = low; at_ <= high * 1.01; at_ *= 10) {
        rule(frame, frame.left, scale(at_), frame.right, scale(at_), 'grid');
        text(frame, frame.left - 8, scale(at_) + 4, time(at_), 'end');
      }
      const weight = (share) => (i) => (number(busiest, 'done', i) * share >= 10 ? 2 : number(busiest, 'done', i) * share >= 1 ? 1 : 0);
      line(frame, scale, column(busiest, 'p50_ns'), 'p50', null);
      line(frame, scale, column(busiest, 'p90_ns'), 'p90', weight(0.1));
      line(frame, scale, column(busiest, 'p99_ns'), 'p99', weight(0.01));
      const lead = p99.findIndex((it) => it > 0);
      if (lead >= 0 && !isNarrow) {
        text(frame, frame.right + 5, scale(p99[p99.length - 1]) + 2, 'p99', 'strong');
        text(frame, frame.right + 4, Math.max(scale(p50[p50.length - 1]) + 6, scale(p99[p99.length - 1]) + 15), 'p50');
      }
    }
    y += 56;
    const failed = view.edges.slice(0, -1).map((_, i) => sum(loads.map((it) => number(it, 'failed', i))));
    text(frame, frame.left - 8, y + 17, 'failed', 'end');
    columns(frame, y, 20, most(failed) || 1, [[failed, 'failed']]);
    readout.say = (i) => {
      const all = (name) => sum(loads.map((it) => number(it, name, i)));
      const longest = busiest.columns.max_ns?.[i];
      return `${Number(view.edges[i].toFixed(3))} to ${seconds(view.edges[i + 1])}: ${count(all('offered'))} due, ${count(all('failed'))} failed`
        + `, p50 ${time(busiest.columns.p50_ns?.[i])}, max ${time(longest)}. Click: its slowest request.`;
    };
    y += 22;
  } else {
    text(frame, frame.left, y + 16, course ? 'no load' : 'no series.csv: no course over time');
    y += 28;
  }
  shades(frame, top, y, page.lanes.bars);
  const bottom = timeAxis(frame, y);
  const extentBox = svg('rect', { class: 'extent', y: top - 3, height: y - top + 3, rx: 1 });
  const cursor = svg('line', { class: 'cursor', y1: top - 3, y2: y });
  const hover = svg('line', { class: 'cursor faint', y1: top - 3, y2: y, visibility: 'hidden' });
  const brush = svg('rect', { class: 'brush', y: top - 3, height: y - top + 3, visibility: 'hidden' });
  picture.append(brush, hover, extentBox, cursor);
  picture.setAttribute('viewBox', `0 0 ${width} ${bottom}`);
  picture.setAttribute('height', bottom);
  parts.course.frame = { ...frame, extentBox, cursor };
  courseHands(box, frame, { readout, hover, brush, picture });
}

function courseWords() {
  const { requests } = run;
  return `${count(requests.done)} requests done, ${count(requests.failed)} failed over ${seconds(run.page.summary.reached_s)}`;
}

function courseHands(box, frame, { readout, hover, brush, picture }) {
  const place = (event) => Math.min(Math.max(event.clientX - picture.getBoundingClientRect().left, frame.left), frame.right);
  let began = null;
  let window_ = null;
  const show = (i) => {
    window_ = i;
    const x = frame.x((view.edges[i] + view.edges[i + 1]) / 2);
    hover.setAttribute('x1', x);
    hover.setAttribute('x2', x);
    hover.setAttribute('visibility', 'visible');
    readout.textContent = readout.say ? readout.say(i) : '';
  };
  box.addEventListener('pointermove', (event) => {
    const x = place(event);
    if (began !== null && Math.abs(x - began) > 4) {
      brush.setAttribute('x', Math.min(x, began));
      brush.setAttribute('width', Math.abs(x - began));
      brush.setAttribute('visibility', 'visible');
    }
    show(view.at(frame.x.back(x)));
  });
  box.addEventListener('pointerleave', () => { if (began === null) { hover.setAttribute('visibility', 'hidden'); readout.textContent = ''; } });
  box.addEventListener('pointerdown', (event) => { if (event.button === 0) { began = place(event); if (event.pointerType !== 'touch') box.setPointerCapture(event.pointerId); } });
  box.addEventListener('pointercancel', () => { began = null; });
  box.addEventListener('pointerup', (event) => {
    if (began === null) return;
    const [from, to] = [began, place(event)];
    began = null;
    brush.setAttribute('visibility', 'hidden');
    if (Math.abs(to - from) > 4) {
      const [a, b] = [frame.x.back(Math.min(from, to)), frame.x.back(Math.max(from, to))];
      setExtent(a * SECOND, b * SECOND, true);
      if (!drawn) slowestIn(look.t);
    } else slowestIn([view.edges[window_ ?? 0], view.edges[(window_ ?? 0) + 1]].map((it) => it * SECOND));
  });
  box.addEventListener('keydown', (event) => {
    const i = window_ ?? view.at((look.at ?? 0) / SECOND);
    if (event.key === 'ArrowRight') show(Math.min(i + (event.shiftKey ? 10 : 1), view.windows - 1));
    else if (event.key === 'ArrowLeft') show(Math.max(i - (event.shiftKey ? 10 : 1), 0));
    else if (event.key === 'Enter') slowestIn([view.edges[i], view.edges[i + 1]].map((it) => it * SECOND));
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

/** Boxes and hairlines that say where the extent and the moment are. */
function drawBoxes() {
  if (!look.t) return;
  const place = (frame, from, to, cursor) => {
    if (!frame) return;
    const [x1, x2] = [frame.x(from), frame.x(to)].map((it) => Math.min(Math.max(it, frame.left), frame.right));
    const isOut = frame.x(to) < frame.left || frame.x(from) > frame.right;
    const wide_ = Math.max(x2 - x1, 5);
    frame.extentBox.setAttribute('visibility', isOut ? 'hidden' : 'visible');
    frame.extentBox.setAttribute('x', Math.min((x1 + x2 - wide_) / 2, frame.right - wide_ + 2));
    frame.extentBox.setAttribute('width', wide_);
    const x = cursor === null ? -1 : frame.x(cursor);
    frame.cursor.setAttribute('visibility', x < frame.left || x > frame.right ? 'hidden' : 'visible');
    frame.cursor.setAttribute('x1', x);
    frame.cursor.setAttribute('x2', x);
  };
  const at_ = look.at === null ? null : look.at / SECOND;
  place(parts.course.frame, look.t[0] / SECOND, look.t[1] / SECOND, at_);
  place(parts.request.frame, look.t[0], look.t[1], look.at);
  drawCalls();
}

/** The slowest request that was due in a stretch of time, or the first that failed if none was done. */
async function slowestIn([from, to]) {
  await answered(parts.request.body, () => ask('requests', `/api/requests?from=${Math.round(from)}&to=${Math.round(to)}`), (those) => {
    const first = those.slowest[0] || those.failures[0];
    if (first) chooseRequest(first.request, { isNew: true, isLed: true });
    else { point((from + to) / 2); setExtent(from, to, true); }
  });
}

// A request.

async function chooseRequest(name, { isNew, isLed }) {
  look.req = name;
  await answered(parts.request.body, () => ask('request', `/api/request?name=${encodeURIComponent(name)}`), (it) => {
    drawn = { ...it.drawn, records: it.records };
    space.bars = barsOf(drawn);
    space.hasOwn = true;
    drawRequest();
    if (isLed || !look.t) lead();
    if (isNew) remember(true);
    space.messages = null;
    loadSoon();
  });
}

/** Where to look first in a request: at what was lost or given up in it, or at all of it. */
function lead() {
  const { due_ns, latency_ns, rows } = drawn;
  const bad = rows.findIndex((it) => it.failure && it.is_critical);
  const place = bad >= 0 ? bad : rows.findIndex((it) => it.failure);
  const span = place >= 0 && latency_ns > 40e6 ? Math.min(Math.max(latency_ns / 50, 6e6), 30e6) : latency_ns * 1.06;
  const sent = due_ns + (place >= 0 ? rows[place].sent_ns : 0);
  if (place >= 0) setExtent(sent - span * 0.55, sent + span * 0.45, false);
  else setExtent(due_ns - latency_ns * 0.03, due_ns + span, false);
  const record = drawn.records[Math.max(place, 0)] ?? drawn.records.find((it) => it !== null);
  if (record !== undefined && record !== null) choose(record, { isNew: false, keepsExtent: true });
  else point(sent);
}

/** What instances did for a request, on their nodes' lines. */
function barsOf(of) {
  return of.rows.flatMap((row) => row.bits.filter((bit) => row.node !== null && ['work', 'cores', 'queue'].includes(bit.kind))
    .map((bit) => ({ node: row.node, from: of.due_ns + bit.from_ns, to: of.due_ns + bit.to_ns, kind: bit.kind })));
}

const failureWords = (row) => ({ timeout: 'timed out', lost: 'lost: its node went down', no_instance: 'no instance', refused: 'refused', error: 'error', cut: 'cut' })[row.failure] ?? row.failure;

function drawRequest() {
  const { head, why, body } = parts.request;
  const { requests } = run;
  head.textContent = `Request ${short(drawn.request, 40)}`;
  const isSlowest = requests.slowest[0]?.request === drawn.request;
  why.textContent = `${drawn.endpoint}, ${drawn.failure ? 'failed (' + drawn.failure.replace('_', ' ') + ')' : 'done'} after ${time(drawn.latency_ns)}`
    + (isSlowest ? `, slowest of ${count(requests.done)}` : '') + (drawn.retries ? `, ${count(drawn.retries)} ${drawn.retries === 1 ? 'retry' : 'retries'}` : '')
    + '. Amber: in a queue; blue: work; pale: waits for its calls; ×: given up';
  const box = el('div', { class: 'plot', id: 'waterfall' });
  const picture = svg('svg', { role: 'group', 'aria-label': `Where the time of ${drawn.request} went: ${drawn.parts.slice(0, 3).map(partWords).join(', ')}` });
  box.append(picture);
  body.replaceChildren(box);
  const width = Math.floor(box.clientWidth);
  if (!width) return;
  const isNarrow = width < 620;
  const left = isNarrow ? 8 : Math.min(226, width * 0.27);
  const end = drawn.latency_ns;
  const frame = { svg: picture, width, isNarrow, left, right: width - (isNarrow ? 62 : 120), box };
  frame.x = linear(drawn.due_ns, drawn.due_ns + end, left, frame.right);
  const X = (ns) => frame.x(drawn.due_ns + ns);
  const unit = end > 2e9 ? [SECOND, 's'] : end > 2e6 ? [1e6, 'ms'] : [1e3, 'µs'];
  const grid = svg('g');
  picture.append(grid);
  const marks = ticks(0, end / unit[0], isNarrow ? 3 : 6);
  marks.forEach((mark, i) => {
    const x = X(mark * unit[0]);
    const words = i === 0 ? `0 = ${when(drawn.due_ns)}` : i === marks.length - 1 ? `${mark} ${unit[1]}` : String(mark);
    text(frame, i === 0 ? Math.max(x, 0) : x, 12, words, i === 0 ? null : 'mid');
  });
  let y = 20;
  if (!isNarrow) text(frame, 0, y + 12, 'critical path', 'strong');
  for (const bit of drawn.path) bitRect(frame, X, bit, y, 14);
  y = sentence(frame, y + 22, left);
  drawn.rows.forEach((row, index) => { y = drawRow(frame, X, row, index, y); });
  if (drawn.folded) {
    const none = drawn.rows.every((it) => it.is_critical) ? ', none on the critical path' : '';
    text(frame, 0, y + 14, `... ${count(drawn.folded)} more calls${none}`);
    y += 20;
  }
  for (const mark of marks) grid.append(svg('line', { x1: X(mark * unit[0]), x2: X(mark * unit[0]), y1: 16, y2: y, class: 'grid' }));
  const extentBox = svg('rect', { class: 'extent', y: 15, height: y - 13, rx: 1 });
  const cursor = svg('line', { class: 'cursor', y1: 15, y2: y + 2 });
  picture.append(extentBox, cursor);
  picture.setAttribute('viewBox', `0 0 ${width} ${y + 6}`);
  picture.setAttribute('height', y + 6);
  parts.request.frame = { ...frame, extentBox, cursor };
  waterfallHands(box, picture);
  drawBoxes();
}

const share = (ns, of) => (of > 0 && ns / of < 0.01 ? '< 1 %' : `${Math.round((ns / (of || 1)) * 100)} %`);
const partWords = (it) => `${share(it.ns, drawn.latency_ns)} ${it.words}`;

/** The parts of the critical path in words, the largest first, each with its colour. */
function sentence(frame, y, left) {
  let x = left;
  for (const it of drawn.parts.slice(0, 6)) {
    const words = partWords(it);
    const long = 17 + wide(words) * 1.03;
    if (x > left && x + long > frame.width) { x = left; y += 17; }
    rect(frame, x, y + 2, 9, 9, 'bit ' + it.kind);
    text(frame, x + 14, y + 11, words, 'ink', `${words}: ${time(it.ns)}${it.why ? '; ' + it.why : ''}`);
    x += long + 16;
  }
  y += 20;
  const queue = drawn.parts.find((it) => it.why);
  if (queue) {
    text(frame, left, y + 10, short(`in the queue ${queue.why}`, Math.floor((frame.width - left) / 6)), null, queue.why);
    y += 20;
  }
  return y + 4;
}

function bitRect(frame, X, bit, y, tall) {
  const [x1, x2] = [X(bit.from_ns), X(bit.to_ns)];
  const words = `${bit.words}: ${time(bit.to_ns - bit.from_ns)}`;
  frame.svg.append(svg('rect', { x: x1, y, width: Math.max(x2 - x1, 0.6), height: tall, class: 'bit ' + bit.kind }, svg('title', null, words)));
}

const ABANDONED = ['timeout', 'lost', 'refused', 'error', 'no_instance', 'cut'];

function drawRow(frame, X, row, index, y) {
  const again = row.attempt > 1 ? ` try ${row.attempt}` : '';
  const indent = Math.min(row.depth, 8) * (frame.isNarrow ? 6 : 11);
  const group = svg('g', { class: 'row' + (row.is_critical ? '' : ' aside'), tabindex: 0, role: 'button', 'data-row': index,
    'aria-label': `${row.endpoint}${again} to ${row.instance || 'nobody'}: ${row.failure ? failureWords(row) : time(row.ended_ns - row.sent_ns)}` });
  const inner = { ...frame, svg: group };
  const top = y + (frame.isNarrow ? 15 : 0);
  group.append(svg('rect', { x: 0, y, width: frame.width, height: frame.isNarrow ? 33 : 19, class: 'hit' }));
  const room = Math.max(8, Math.floor((frame.isNarrow ? frame.width - indent : frame.left - indent - 8) / 6.5));
  const name = short(row.endpoint + again, Math.max(6, room - (row.instance ? [...row.instance].length + 1 : 0)));
  const label = svg('text', { x: indent, y: y + 13, class: 'ink' }, name, svg('title', null, row.endpoint + again));
  if (row.instance) label.append(svg('tspan', { class: 'mut', dx: 5 }, short(row.instance, 14)));
  group.append(label);
  const [x1, x2] = [X(row.sent_ns), X(row.ended_ns)];
  for (const bit of row.bits) if (!ABANDONED.includes(bit.kind)) bitRect(inner, X, bit, top + 3, 11);
  const isLeft = x2 + 90 > frame.width;
  if (row.failure) {
    const mid = top + 8.5;
    rule(inner, x1, mid, x2, mid, 'given');
    group.append(svg('circle', { cx: x1, cy: mid, r: 2.5, class: 'failed' }));
    group.append(svg('path', { d: `M${x2 - 4} ${mid - 4}l8 8M${x2 - 4} ${mid + 4}l8 -8`, class: 'given' }));
    text(inner, x2 + 9, top + 12.5, short(failureWords(row), Math.max(6, Math.floor((frame.width - x2 - 10) / 6))), 'badt', failureWords(row));
  } else text(inner, x2 + 6, top + 12.5, time(row.ended_ns - row.sent_ns), isLeft ? 'mut' : 'mut');
  frame.svg.append(group);
  return y + (frame.isNarrow ? 34 : 20);
}

function waterfallHands(box, picture) {
  const brush = svg('rect', { class: 'brush', y: 0, visibility: 'hidden', height: picture.getAttribute('height') });
  picture.append(brush);
  const place = (event) => event.clientX - picture.getBoundingClientRect().left;
  let began = null;
  box.addEventListener('pointerdown', (event) => { if (event.button === 0 && event.pointerType !== 'touch') began = place(event); });
  box.addEventListener('pointermove', (event) => {
    const { frame } = parts.request;
    const x = Math.min(Math.max(place(event), frame.left), frame.right);
    if (began === null || Math.abs(x - began) < 5) return;
    brush.setAttribute('x', Math.min(began, x));
    brush.setAttribute('width', Math.abs(x - began));
    brush.setAttribute('visibility', 'visible');
  });
  box.addEventListener('pointerup', (event) => {
    const { frame } = parts.request;
    const [from, to] = [began, Math.min(Math.max(place(event), frame.left), frame.right)];
    began = null;
    brush.setAttribute('visibility', 'hidden');
    if (from !== null && Math.abs(to - from) > 5) { setExtent(frame.x.back(Math.min(from, to)), frame.x.back(Math.max(from, to)), true); return; }
    const row = event.target.closest('[data-row]');
    if (row) chooseRow(Number(row.dataset.row));
  });
  box.addEventListener('keydown', (event) => {
    const row = event.target.closest('[data-row]');
    if (row && (event.key === 'Enter' || event.key === ' ')) { event.preventDefault(); chooseRow(Number(row.dataset.row)); }
  });
}

/** A try: its message, and the time about it. */
function chooseRow(index) {
  const row = drawn.rows[index];
  const record = drawn.records[index];
  const span = Math.max((row.ended_ns - row.sent_ns) * 1.2, 2e5);
  const sent = drawn.due_ns + row.sent_ns;
  setExtent(sent - span * 0.08, sent + span * 0.92, record === null);
  if (record !== null && record !== undefined) choose(record, { isNew: true, keepsExtent: true });
  else point(sent);
}

// Messages.

function buildSpace() {
  const box = el('div', { class: 'space', tabindex: 0, role: 'application' });
  const readout = el('p', { class: 'readout', 'data-hint': 'Drag moves, Ctrl and wheel zoom, Shift and drag chooses an extent; click a message for its content and its cause.' });
  const under = el('div', { hidden: true });
  parts.space.body.append(box, readout, under);
  space = new Space(box, {
    pan: (ns) => setExtent(look.t[0] + ns, look.t[1] + ns, false),
    zoom: (at_, factor) => zoomAt(at_, factor),
    extent: (from, to) => setExtent(from, to, true),
    settled: () => remember(true),
    actor: (id) => chooseActor(id, true),
    pick: (m, at_) => { if (m) choose(m.record, { isNew: true, keepsExtent: true }); else { unchoose(); point(at_); remember(true); } },
    hover: (at_, m) => {
      readout.textContent = m ? sayMessage(m) : at_ === null ? '' : when(at_);
      space.drawAbove();
    },
  });
  space.actors = run.actors;
  space.down = run.down;
  const toggle = button('table', () => {
    const isOpen = under.hidden;
    under.hidden = !isOpen;
    box.hidden = isOpen;
    toggle.setAttribute('aria-pressed', String(isOpen));
    if (isOpen) under.replaceChildren(messageTable());
    else space.draw();
  }, { 'aria-pressed': 'false' });
  parts.space.tools.append(button('−', () => { zoomAt((look.t[0] + look.t[1]) / 2, 2); remember(true); }, { 'aria-label': 'zoom out' }),
    button('+', () => { zoomAt((look.t[0] + look.t[1]) / 2, 0.5); remember(true); }, { 'aria-label': 'zoom in' }), toggle);
}

function sayMessage(m) {
  const words = space.messages.said[m.words]?.[1] ?? 'message';
  const reason = m.fate & FATE.LOST ? `lost: ${run.reasons[m.fate >> FATE.REASON] ?? ''}` : m.took < 0 ? 'under way when the trace ended' : `took ${time(m.took)}`;
  const odd = [m.fate & FATE.LATE ? 'late' : '', m.fate & FATE.COPY ? 'a copy' : '', m.fate & FATE.HELD ? 'held' : ''].filter((it) => it);
  return `${when(m.sent)}: ${words}, ${actorName(m.from)} ${ARROW} ${actorName(m.to)}, ${[reason, ...odd].join(', ')}`;
}

const TABLE_MAX = 200;

/** What the canvas shows, as a table. */
function messageTable() {
  const rows = [];
  let left = 0;
  space.each((m) => {
    if (m.sent > look.t[1] || (m.took >= 0 && m.sent + m.took < look.t[0])) return;
    if (rows.length === TABLE_MAX) { left++; return; }
    rows.push([{ text: (m.sent / SECOND).toFixed(6), value: m.sent }, actorName(m.from), actorName(m.to), space.messages.said[m.words]?.[1] ?? '',
      m.fate & FATE.LOST ? `lost: ${run.reasons[m.fate >> FATE.REASON] ?? ''}` : m.took < 0 ? 'under way' : { text: time(m.took), value: m.took }, { text: String(m.record), value: m.record }]);
  });
  const made = table(['sent (s)', 'from', 'to', 'message', 'took', 'record'], rows);
  made.dataset.table = 'messages';
  return el('div', { class: 'scroll tall' }, made, left ? el('p', { class: 'mut' }, `and ${count(left)} more`) : null);
}

const covers = (all) => all && all.is_whole && all.from_ns <= look.t[0] && all.to_ns >= look.t[1];

let loading = false;
let wanted = false;

/** Asks for the messages of the extent, unless they are there; one question at a time, the last one counts. */
async function loadSoon() {
  if (loading) { wanted = true; return; }
  if (covers(space.messages)) { if (space.tiles.length) { space.tiles = []; paintExtent(); } return; }
  loading = true;
  try {
    await load();
  } catch (error) {
    if (error.name !== 'AbortError') parts.space.why.textContent = error.message;
  }
  loading = false;
  if (wanted) { wanted = false; loadSoon(); }
}

async function load() {
  const [from, to] = look.t;
  const span = to - from;
  const [first, last] = whole();
  const request = look.req ? `&request=${encodeURIComponent(look.req)}` : '';
  const within = (a, b) => ask('messages', `/api/messages?from=${Math.max(Math.round(a), 0)}&to=${Math.round(b)}${request}`);
  // With what lies beside it, so that moving about needs no question.
  let messages = await within(Math.max(first, from - span), Math.min(last, to + span));
  if (!messages.is_whole) messages = await within(from, to);
  const tiles = messages.is_whole ? [] : await tilesOf(from, to);
  space.messages = messages;
  space.tiles = tiles;
  paintExtent();
}

const kept = new Map();

/** The tiles that cover an extent: about a column a pixel. */
async function tilesOf(from, to) {
  const pixels = Math.max(space.right - space.left, 100);
  const level = Math.max(0, Math.min(30, Math.ceil(Math.log2((to - from) / pixels / 1024))));
  const tall = run.columns * 1024 * 2 ** level;
  const numbers = [];
  for (let n = Math.floor(from / tall); n * tall <= to && numbers.length < 16; n++) numbers.push(n);
  return Promise.all(numbers.map(async (n) => {
    const path = `/tile/${level}/${n}`;
    if (!kept.has(path)) {
      if (kept.size > 200) kept.clear();
      kept.set(path, await ask(path, path));
    }
    return kept.get(path);
  }));
}

// One message.

async function choose(record, { isNew, keepsExtent }) {
  look.rec = record;
  space.chosen = record;
  space.drawAbove();
  await answered(parts.message.body, () => ask('record', `/api/record?n=${record}`), (it) => {
    told = it;
    showMessage();
    const { message } = told;
    const at_ = message ? message.sent_ns : told.at_ns;
    look.who = message ? message.from : run.actors.findIndex((actor) => actor.name === told.actor);
    point(at_);
    if (!keepsExtent && (at_ < look.t[0] || at_ > look.t[1])) {
      const span = look.t[1] - look.t[0];
      setExtent(at_ - span / 2, at_ + span / 2, false);
    }
    if (isNew) remember(true);
    if (message?.request && message.request !== look.req) chooseRequest(message.request, { isNew: false, isLed: false });
  });
}

function unchoose() {
  [look.rec, space.chosen, told] = [null, null, null];
  parts.message.head.textContent = 'Message';
  parts.message.body.replaceChildren(el('p', { class: 'mut' }, 'Click a message, or choose one with the arrows.'));
  for (const it of [parts.because, parts.after]) it.body.replaceChildren();
  space.drawAbove();
  showFork();
}

const yes = (value, words) => (value ? words : null);

function showMessage() {
  const { message } = told;
  parts.message.head.textContent = message ? `Message ${message.record}` : `Record ${told.record}`;
  const fact = (name, value, kind) => (value === null || value === undefined ? null : el('tr', null, el('th', { scope: 'row' }, name), el('td', { class: kind || null }, value)));
  const rows = message ? [
    fact('says', message.words),
    fact('from', actorName(message.from)),
    fact('to', message.receiver),
    fact('fate', fateWords(message), message.lost || message.is_late ? 'bad strong' : null),
    fact('sent', when(message.sent_ns)),
    fact(message.lost ? 'lost at' : 'arrived', message.end_ns === null ? null : `${when(message.end_ns)}, after ${time(message.end_ns - message.sent_ns)}`),
    fact('request', message.request),
    fact('gives up', message.deadline_ns === null ? null : `${when(message.deadline_ns)}, after ${time(message.deadline_ns - message.sent_ns)}`),
    fact('failed', message.failure, 'bad'),
    fact('bytes', count(message.bytes)),
    fact('records', message.end ? `${count(message.record)}, ${count(message.end)}` : count(message.record)),
  ] : [fact('actor', told.actor), fact('what', told.what), fact('at', when(told.at_ns))];
  const content = message?.content ? el('details', null, el('summary', null, 'Content'), el('pre', null, JSON.stringify(message.content, null, 1))) : null;
  parts.message.body.replaceChildren(el('table', { class: 'facts' }, el('tbody', null, rows)), content ?? '');
  const origin = drawn && message?.request === drawn.request ? drawn.due_ns : null;
  parts.because.why.textContent = origin === null ? '' : 'time since the request was due';
  parts.because.body.replaceChildren(chain(told.because, told.before, null, origin), '');
  const later = [...told.and_so, ...consequences(message)].sort((a, b) => a.at_ns - b.at_ns);
  parts.after.body.replaceChildren(later.length ? chain(later, 0, told.after, origin) : el('p', { class: 'mut' }, 'Nothing follows from it.'));
  document.getElementById('live').textContent = message ? `${message.words}, ${fateWords(message)}` : told.what;
}

function fateWords(message) {
  if (message.lost) {
    const down = message.lost === 'down' ? `: ${actorName(message.to)} is down` : `: ${message.lost}`;
    return `lost${down}`;
  }
  if (message.end_ns === null) return 'under way when the trace ended';
  return ['arrived', yes(message.is_late, 'late'), yes(message.is_copy, 'a copy'), yes(message.was_held, 'held')].filter((it) => it).join(', ');
}

/** Of a request's message: how its try ended, the next one, and the end of it all; no record says that it is because of it. */
function consequences(message) {
  if (!drawn || message?.request !== drawn.request) return [];
  const index = drawn.records.indexOf(message.record);
  if (index < 0) return [];
  const row = drawn.rows[index];
  const later = [];
  if (row.failure) later.push({ at_ns: drawn.due_ns + row.ended_ns, what: `${row.endpoint} is given up: ${failureWords(row)}`, record: null });
  const next = drawn.rows.findIndex((it) => it.call === row.call && it.attempt === row.attempt + 1);
  if (next >= 0 && row.failure) later.push({ at_ns: drawn.due_ns + drawn.rows[next].sent_ns, what: `${row.endpoint}, try ${row.attempt + 1} ${ARROW} ${drawn.rows[next].instance ?? 'nobody'}`, record: drawn.records[next] });
  if (index > 0) later.push({ at_ns: drawn.due_ns + drawn.latency_ns, what: `the request ${drawn.failure ? 'fails' : 'is answered'}${row.is_critical && row.failure ? `, ${time(row.ended_ns - row.sent_ns)} of it for this` : ''}`, record: null });
  return later;
}

/** Records as a list, each a button that leads there. */
function chain(links, before, after, origin) {
  const item = (it) => {
    const at_ = origin === null ? when(it.at_ns) : `${((it.at_ns - origin) / 1e6).toFixed(1)} ms`;
    const [verb, ...rest] = it.what.trim().split(/\s+/);
    const words = [it.actor ? el('b', null, short(it.actor, 24)) : null, ' ', it.actor ? `${verb.replaceAll('_', ' ')} ${rest.join(' ')}` : it.what];
    const isHere = it.record === told.record;
    const inner = it.record === null || it.record === undefined ? el('span', null, words) : button(words, () => choose(it.record, { isNew: true, keepsExtent: false }), { 'data-record': it.record });
    return el('li', { class: isHere ? 'here' : null, 'aria-current': isHere ? 'true' : null }, el('time', null, at_), inner);
  };
  const more = (n) => (n ? el('li', { class: 'mut' }, el('time', null, ''), `${count(n)} more`) : null);
  return el('ol', { class: 'chain' }, more(before), links.map(item), after === null ? (before ? null : null) : more(after));
}

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
  loadActor();
}

async function loadActor() {
  const { head, body, why } = parts.actor;
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
    rows.push(el('tr', null, el('td', null, `${short(one.service, 16)}#${one.ordinal}`, one.life === 'ready' ? '' : el('span', { class: 'mut' }, ' ' + one.life)),
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
  if (it.requests_under_way !== null) said.push(` ${count(it.requests_under_way)} requests under way.`);
  const nodes = it.nodes.length ? el('table', { class: 'full' }, el('thead', null, el('tr', null, ['node', 'it thinks', 'is', 'step'].map((words) => el('th', { scope: 'col' }, words)))),
    el('tbody', null, it.nodes.slice(0, 60).map((node) => el('tr', null, el('td', null, short(node.node, 20)), el('td', { class: (node.thinks === 'dead') === node.is_up ? 'bad strong' : null }, node.thinks),
      el('td', { class: node.is_up ? null : 'bad' }, node.is_up ? 'up' : '✕ down'), el('td', null, count(node.applied)))))) : null;
  const list = (title, lines, say) => (lines.length ? el('details', null, el('summary', null, `${title} (${count(lines.length)})`),
    el('ol', { class: 'chain' }, lines.slice(0, 40).map((one) => el('li', null, el('time', null, say(one)), button(one.what, () => choose(one.record, { isNew: true, keepsExtent: false })))))) : null);
  body.replaceChildren(...[made, el('p', { class: 'said' }, said), nodes, list('Timers', it.timers, (one) => `in ${time(Math.max(one.at_ns - it.at_ns, 0))}`),
    list('On the way to it', it.coming, (one) => `${time(it.at_ns - one.at_ns)} ago`)].filter((one) => one));
}

// What if?

let forks = null;

function buildFork() {
  const { made, why, body } = parts.fork;
  if (ANSWERS || run.is_live) { made.hidden = true; return; }
  why.textContent = 'runs it again with one thing changed, as a run of its own';
  forks = { buttons: el('div', { class: 'whatif' }), asks: el('div', null), result: el('div', { id: 'forked' }) };
  body.append(forks.buttons, forks.asks, forks.result);
  showFork();
}

/** What can be changed here: the chosen message, the actor, a value of the file. */
function showFork() {
  if (!forks) return;
  const record = told?.message?.record ?? null;
  const node = look.who !== null && run.actors[look.who]?.kind === 'node' ? look.who : null;
  const isTravelling = record !== null && told.message.from !== told.message.to && !told.message.lost;
  const made = [
    isTravelling ? button('Drop this message', () => fork({ act: 'drop', record })) : null,
    isTravelling ? button('Delay it …', () => forkWith('by how much', '50ms', (by) => fork({ act: 'delay', record, by }))) : null,
    node !== null && look.at !== null ? button(`Crash ${short(actorName(node), 16)} …`, () => forkWith('for how long', '10s', (length) => fork({ act: 'crash', actor: node, at_ns: Math.round(look.at), length }))) : null,
    button('Change a value …', () => forkWith('path=value, from the beginning', 'control.missed=1', (value) => fork({ act: 'set', value }))),
  ].filter((it) => it);
  forks.buttons.replaceChildren(...made);
  forks.asks.replaceChildren();
}

function forkWith(words, value, then) {
  const field = el('input', { type: 'text', value, 'aria-label': words });
  const form = el('form', { class: 'whatif', submit: (event) => { event.preventDefault(); then(field.value.trim()); } }, el('label', { class: 'mut' }, words + ' ', field), button('Run', () => then(field.value.trim())));
  forks.asks.replaceChildren(form);
  field.focus();
  field.select();
}

async function fork(change) {
  forks.asks.replaceChildren();
  const { result } = forks;
  if (!token) {
    result.replaceChildren(el('p', { class: 'remark' }, 'A fork is written to the disk and needs the token of this page: open the link that `meshsim explore` printed.'));
    return;
  }
  result.replaceChildren(el('p', { class: 'mut', role: 'status' }, 'It is run again …'));
  document.querySelectorAll('#the-fork button').forEach((it) => { it.disabled = true; });
  await answered(result, async () => {
    const response = await fetch('/api/fork', { method: 'POST', headers: { Authorization: 'Bearer ' + token, 'Content-Type': 'application/json' }, body: JSON.stringify(change) });
    const answer = await response.json();
    if (!response.ok) throw Object.assign(new Error(answer.message), answer);
    return answer;
  }, (it) => showForked(it));
  document.querySelectorAll('#the-fork button').forEach((it) => { it.disabled = false; });
}

/** Both courses beneath each other, on the same axis and scale, and where the two runs part. */
function showForked(it) {
  const both = [['this run', run.page], ['fork: ' + it.words, it.page]];
  const failed = both.map(([, page]) => sum((page?.summary.loads ?? []).map((load) => load.requests.failed)));
  const picture = svg('svg', { role: 'img', 'aria-label': `Requests of both runs: ${count(failed[0])} failed, then ${count(failed[1])}` });
  const box = el('div', { class: 'plot' }, picture);
  const first = it.parted;
  const shown = first ? first.message ?? first.here?.record ?? null : null;
  const words = first ? [el('b', null, 'The first that differs: '), first.message !== null || first.here
    ? button(`${(first.there ?? first.here).actor}: ${(first.there ?? first.here).what.trim().replace(/\s+/g, ' ')}`, () => choose(shown, { isNew: true, keepsExtent: false }), { 'data-first': shown })
    : `${first.there.actor}: ${first.there.what.trim().replace(/\s+/g, ' ')}`, `, at ${when(first.at_ns)}. In this run: ${first.here ? first.here.actor + ': ' + first.here.what.trim().replace(/\s+/g, ' ') : 'nothing more'}.`] : 'No message differs: the two runs are the same.';
  forks.result.replaceChildren(box, el('p', { class: 'said', id: 'parted' }, `${count(failed[0])} ${ARROW} ${count(failed[1])} failed; ${count(it.otherwise)} ended otherwise. `, words),
    el('p', { class: 'mut' }, 'It is kept: ', el('code', null, `meshsim explore ${it.folder}`)));
  drawForked(box, picture, both);
}

function drawForked(box, picture, both) {
  const width = Math.floor(box.clientWidth);
  const courses = both.map(([, page]) => page?.course);
  if (!width || courses.some((it) => !it || it.edges_s.length < 2)) return;
  const middle = (look.at ?? look.t[0]) / SECOND;
  const { edges_s } = courses[0];
  const shared = new View(edges_s);
  let first = 0;
  while (first < shared.windows - 1 && edges_s[first + 1] <= middle) first++;
  const from = Math.max(0, Math.min(first - 4, shared.windows - 20));
  shared.extent = [edges_s[from], edges_s[Math.min(from + 20, shared.windows)]];
  const frame = { svg: picture, width, left: 34, right: width - 14, isNarrow: true, view: shared, box };
  frame.x = linear(shared.extent[0], shared.extent[1], frame.left, frame.right);
  const rate = (course, name) => edges_s.slice(0, -1).map((_, i) => sum(linesOf(course, 'load').map((it) => number(it, name, i))));
  const top = most(courses.flatMap((course) => rate(course, 'offered').slice(from, from + 20))) || 1;
  let y = 4;
  both.forEach(([name], i) => {
    text(frame, 0, y + 11, short(name, Math.floor(width / 6.4)), 'strong', name);
    columns(frame, y + 16, 34, top, [[rate(courses[i], 'done'), 'done'], [rate(courses[i], 'failed'), 'failed']]);
    y += 58;
  });
  const bottom = timeAxis(frame, y - 4);
  picture.setAttribute('viewBox', `0 0 ${width} ${bottom}`);
  picture.setAttribute('height', bottom);
}

// Steps.

let stepsOf = null;

async function loadSteps() {
  const around = view ? [look.t[0] - SECOND, look.t[1] + 3 * SECOND].map((it) => Math.max(0, Math.round(it))) : [0, 0];
  if (!run.operations.length) { parts.steps.made.hidden = true; return; }
  await answered(parts.steps.body, () => ask('steps', `/api/steps?from=${around[0]}&to=${around[1]}`), (it) => {
    if (!it) { parts.steps.made.hidden = true; return; }
    stepsOf = it;
    showSteps();
  });
}

const NODES_MAX = 60;

function showSteps() {
  const { head, why, body } = parts.steps;
  const { steps, services } = stepsOf;
  const [first, last] = [steps[0]?.n, steps[steps.length - 1]?.n];
  head.textContent = first === undefined ? 'Steps' : first === last ? `Step ${first}` : `Steps ${first} to ${last}`;
  why.textContent = `${stepsOf.title} at ${seconds(Number(stepsOf.began_s.toFixed(3)))}; ms until acknowledged`;
  const lateness = new Map();
  for (const step of steps) for (const it of step.nodes) {
    const took = it.acknowledged ? it.acknowledged[0] - step.decided_ns : Infinity;
    lateness.set(it.node, Math.max(lateness.get(it.node) ?? 0, took));
  }
  let nodes = [...lateness.keys()];
  const isMany = nodes.length > 12;
  if (isMany) nodes.sort((a, b) => lateness.get(b) - lateness.get(a) || a.localeCompare(b, 'en'));
  else nodes.sort((a, b) => a.localeCompare(b, 'en'));
  const left = Math.max(0, nodes.length - NODES_MAX);
  nodes = nodes.slice(0, NODES_MAX);
  const cell = (step, node) => {
    const it = step.nodes.find((each) => each.node === node);
    if (!it) return el('td', { class: 'n' }, '');
    const [words, kind, record] = stateOf(step, it);
    const isLast = it.acknowledged && step.nodes.every((each) => each.acknowledged && each.acknowledged[0] <= it.acknowledged[0]);
    const title = `${node}, step ${step.n}: ${words}${it.resent ? `, sent again ${it.resent} times` : ''}${it.down.length ? ', it was down' : ''}`;
    return el('td', { class: `n state ${kind}` }, el('button', { type: 'button', title, class: isLast ? 'strong' : null, click: () => {
      const to = it.acknowledged ? it.acknowledged[0] : step.decided_ns + 1e6;
      const span = Math.max(to - step.decided_ns, 1e5);
      setExtent(step.decided_ns - span * 0.1, to + span * 0.1, false);
      choose(it.sent ? it.sent[1] : record, { isNew: true, keepsExtent: true });
    } }, words));
  };
  const rows = steps.map((step) => el('tr', null, el('th', { scope: 'row' }, el('b', null, String(step.n)), ' ' + short(services[step.n] ?? '', 14)), nodes.map((node) => cell(step, node))));
  const isBad = (node) => steps.some((step) => step.nodes.some((it) => it.node === node && it.down.length));
  const made = el('table', { class: 'matrix', 'data-table': 'steps' }, el('thead', null, el('tr', null, el('th', null, ''), nodes.map((node) => el('th', { scope: 'col', class: 'n' + (isBad(node) ? ' bad' : ''), title: node }, short(node, 9))))), el('tbody', null, rows));
  const down = nodes.filter(isBad);
  const remark = [yes(down.length, `${down.slice(0, 4).join(', ')}${down.length > 4 ? ' and others' : ''}: down meanwhile`), yes(left, `and ${count(left)} nodes that were quicker`), yes(stepsOf.left_out, `and ${count(stepsOf.left_out)} more steps`)].filter((it) => it);
  body.replaceChildren(el('div', { class: 'scroll' }, made), el('p', { class: 'mut' }, remark.join('; ')));
}

/** How far a node came with a step: in how many milliseconds, or a word. */
function stateOf(step, it) {
  if (it.acknowledged) {
    const ms = (it.acknowledged[0] - step.decided_ns) / 1e6;
    const again = it.resent ? ` ${it.resent + 1}x` : '';
    const words = ms >= 1000 ? `+${(ms / 1000).toFixed(1)} s${again}` : ms.toFixed(2) + again;
    return [words, it.resent || it.down.length || ms > 500 ? 'slow' : 'good', it.acknowledged[1]];
  }
  for (const [name, words] of [['refused', '! refused'], ['applied', 'a applied'], ['delivered', 'v there'], ['sent', '> sent']]) if (it[name]) return [words, 'slow', it[name][1]];
  return ['· not sent', 'slow', null];
}

// Who calls whom, in the windows of the extent.

let callsKey = '';

function drawCalls() {
  const { course } = run.page;
  const { body, why, made } = parts.graph;
  const [from, to] = look.t.map((it) => it / SECOND);
  let range = null;
  if (course && course.edges_s.length > 1) {
    let [first, after] = [0, 1];
    while (first < view.windows - 1 && view.edges[first + 1] <= from) first++;
    after = first + 1;
    while (after < view.windows && view.edges[after] < to) after++;
    range = [first, after];
  }
  const key = JSON.stringify([range, body.clientWidth, document.documentElement.dataset.theme]);
  if (key === callsKey && body.firstChild) return;
  callsKey = key;
  const edges = callsIn(run.page, range);
  made.hidden = !edges.length;
  if (!edges.length) return;
  const box = el('div', { class: 'plot' });
  const worst = [...edges].filter((it) => it.failed).sort((a, b) => b.failed - a.failed)[0];
  const picture = svg('svg', { role: 'img', 'aria-label': `Who calls whom: ${edges.length} edges${worst ? `, most failed from ${worst.fromName} to ${worst.toName}` : ''}` });
  box.append(picture);
  const words = worst ? `red: the share that failed; ${worst.fromName} ${ARROW} ${worst.toName}: ${count(worst.failed)} of ${count(worst.offered)}` : 'none failed';
  body.replaceChildren(box, el('p', { class: 'mut' }, words));
  why.textContent = range ? `${Number(view.edges[range[0]].toFixed(3))} to ${seconds(view.edges[range[1]])}` : 'the whole run';
  drawGraph(box, picture, run.page, edges, range);
}

// The filter.

async function search(words, isNew) {
  look.q = words.trim();
  const wrong = document.getElementById('wrong');
  const say = document.getElementById('matched');
  if (!look.q) {
    [found, space.matches] = [null, null];
    wrong.hidden = true;
    say.textContent = '';
    if (isNew) remember(true);
    paintExtent();
    return;
  }
  say.textContent = 'looking …';
  try {
    found = await ask('find', `/api/find?q=${encodeURIComponent(look.q)}`);
    wrong.hidden = true;
    space.matches = new Set(found.found.map((it) => it[0]));
    const those = found.found.filter((it) => it[2]).length;
    say.textContent = `${count(those)} of ${count(run.messages)}${found.left_out ? ', the first' : ''}`;
    if (isNew) remember(true);
    paintExtent();
  } catch (error) {
    if (error.name === 'AbortError') return;
    say.textContent = 'no match can be told';
    wrong.hidden = false;
    const bytes = new TextEncoder().encode(look.q);
    const chars = (n) => [...new TextDecoder().decode(bytes.slice(0, n))].length;
    const caret = error.place ? `${look.q}\n${' '.repeat(chars(error.place[0]))}${'^'.repeat(Math.max(1, chars(error.place[1]) - chars(error.place[0])))} ${error.label ?? ''}\n` : '';
    wrong.textContent = `${caret}${error.message}${error.help ? '. ' + error.help : ''}`;
  }
}

/** The next message that matches, or the one before. */
function match(isForward) {
  if (!found?.found.length) return;
  const here = look.at ?? 0;
  const all = found.found;
  const next = isForward ? all.find((it) => it[1] > here || (it[1] === here && it[0] > (look.rec ?? -1))) ?? all[0]
    : [...all].reverse().find((it) => it[1] < here || (it[1] === here && it[0] < (look.rec ?? Infinity))) ?? all[all.length - 1];
  choose(next[0], { isNew: true, keepsExtent: false });
}

// Keys.

/** The next or last event: an operation, a fault, the first failure of a while. */
function jump(isForward) {
  const moments = run.page.lanes.bars.flatMap((it) => [it.from_s, it.to_s, ...it.ticks]).concat(run.page.lanes.marks.map((it) => it.at_s));
  if (run.page.course) {
    const loads = linesOf(run.page.course, 'load');
    const failed = (i) => i >= 0 && sum(loads.map((it) => number(it, 'failed', i))) > 0;
    for (let i = 0; i < view.windows; i++) if (failed(i) && !failed(i - 1)) moments.push(view.edges[i]);
  }
  const here = (look.at ?? look.t[0]) / SECOND;
  const sorted = [...new Set(moments)].sort((a, b) => a - b);
  const next = isForward ? sorted.find((it) => it > here + 1e-6) : sorted.reverse().find((it) => it < here - 1e-6);
  if (next === undefined) return;
  const span = look.t[1] - look.t[0];
  point(next * SECOND);
  setExtent(next * SECOND - span / 2, next * SECOND + span / 2, true);
  loadSteps();
}

/** The next message of the request, of those that match, or of all; or the one before. */
function step(by) {
  const those = [];
  space.each((m) => { if (space.matches ? space.matches.has(m.record) : look.req && space.hasOwn ? m.fate & FATE.OWN : true) those.push(m); });
  if (!those.length) { shift(by > 0 ? 0.25 : -0.25); return; }
  those.sort((a, b) => a.sent - b.sent || a.record - b.record);
  const here = those.findIndex((m) => m.record === look.rec || m.end === look.rec);
  const from = here >= 0 ? here : those.findIndex((m) => m.sent >= (look.at ?? look.t[0])) - (by > 0 ? 1 : 0);
  const next = those[Math.min(Math.max(from + by, 0), those.length - 1)];
  if (next) choose(next.record, { isNew: true, keepsExtent: false });
}

function help() {
  const keys = [['← →', 'the message before or after, with Shift ten'], ['+ -', 'zoom'], ['0', 'the whole run'], ['[ ]', 'last or next operation, fault or failure'], ['/', 'filter'], ['n N', 'next or last match'],
    ['w', 'all of the request'], ['drag', 'move; with Shift choose an extent'], ['Ctrl wheel', 'zoom at the pointer'], ['Esc', 'choose nothing'], ['?', 'this list']];
  const box = el('dialog', { 'aria-label': 'Keys', close: () => box.remove() }, table(['key', 'what it does'], keys),
    el('form', { method: 'dialog' }, el('p', null, el('button', null, 'Close'))));
  document.body.append(box);
  box.showModal();
}

function theme(name) {
  if (name) { if (name === 'auto') asked.delete('theme'); else asked.set('theme', name); history.replaceState(null, '', '#' + asked); }
  const wanted_ = ['light', 'dark'].includes(asked.get('theme')) ? asked.get('theme') : null;
  if (wanted_) document.documentElement.dataset.theme = wanted_;
  else delete document.documentElement.dataset.theme;
  document.querySelectorAll('[data-name]').forEach((it) => it.setAttribute('aria-pressed', String(it.dataset.name === (wanted_ || 'auto'))));
  if (space && look.t) paintExtent();
}

async function copyLink() {
  remember(false);
  let words = 'link copied';
  try { await navigator.clipboard.writeText(location.href); } catch { words = 'the address of this page is the link'; }
  document.getElementById('live').textContent = words;
  const say = document.querySelector('#bar .facts');
  const before = say.textContent;
  say.textContent = words;
  setTimeout(() => { say.textContent = before; }, 1500);
}

function key(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest('input, select, textarea, dialog')) return;
  const middle = look.at !== null && look.at >= look.t[0] && look.at <= look.t[1] ? look.at : (look.t[0] + look.t[1]) / 2;
  const far = event.shiftKey ? 10 : 1;
  switch (event.key) {
    case 'ArrowRight': step(far); break;
    case 'ArrowLeft': step(-far); break;
    case '+': case '=': zoomAt(middle, 1 / 1.5); remember(true); break;
    case '-': zoomAt(middle, 1.5); remember(true); break;
    case '0': setExtent(...whole(), true); break;
    case 'w': if (drawn) setExtent(drawn.due_ns - drawn.latency_ns * 0.03, drawn.due_ns + drawn.latency_ns * 1.03, true); break;
    case '/': document.getElementById('filter')?.focus(); break;
    case 'n': match(true); break;
    case 'N': match(false); break;
    case '[': jump(false); break;
    case ']': jump(true); break;
    case '?': help(); break;
    case 'Escape': unchoose(); remember(true); break;
    default: return;
  }
  event.preventDefault();
}

// The page.

async function show() {
  recall();
  theme();
  const filter = document.getElementById('filter');
  if (filter) filter.value = look.q;
  const first = run.requests.slowest[0]?.request ?? run.requests.failures[0]?.request ?? null;
  const isNew = !look.t && !look.req && look.rec === null;
  if (look.t) { space.extent = look.t; space.cursor = look.at; }
  const asks = { record: look.rec, who: look.who, at: look.at };
  if (!look.t && !(look.req || first)) setExtent(...whole(), false);
  if (look.req || (isNew && first)) await chooseRequest(look.req ?? first, { isNew: false, isLed: isNew || (!asked.has('t') && asks.record === null) });
  if (!look.t) setExtent(...whole(), false);
  if (asks.record !== null) await choose(asks.record, { isNew: false, keepsExtent: asked.has('t') });
  else if (!isNew) unchoose();
  if (asks.at !== null) point(asks.at);
  if (asks.who !== null) look.who = asks.who;
  if (look.q) search(look.q, false);
  space.extent = look.t;
  loadSoon();
  loadActorSoon();
  loadSteps();
  paintExtent();
}

let lastWidth = 0;
function resized() {
  const width = document.querySelector('main').clientWidth;
  if (width === lastWidth || !run) return;
  lastWidth = width;
  drawCourse();
  if (drawn) drawRequest();
  if (look.t) paintExtent();
}

async function start() {
  theme();
  try {
    run = await ask('run', '/api/run');
  } catch (error) {
    banner(`The run cannot be shown: ${error.message}`);
    return;
  }
  build();
  drawCourse();
  lastWidth = document.querySelector('main').clientWidth;
  if (run.trouble) banner(`The trace ends at ${when(run.last_ns)}: ${run.trouble}`);
  document.addEventListener('keydown', key);
  addEventListener('popstate', show);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => paintExtent());
  new ResizeObserver(() => requestAnimationFrame(resized)).observe(document.querySelector('main'));
  await show();
  document.documentElement.dataset.ready = '1';
}

start();
