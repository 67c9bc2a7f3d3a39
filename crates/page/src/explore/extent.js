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
  const facts = el('span', { class: 'mut facts' });
  const moment = el('input', { type: 'text', id: 'moment', size: 11, 'aria-label': 'Moment, in seconds', change: () => goTo(moment.value), keydown: (event) => { if (event.key === 'Escape') moment.blur(); } });
  const filter = el('input', { type: 'search', id: 'filter', placeholder: 'filter: lost, type == ack, took > 100ms', 'aria-label': 'Filter', autocomplete: 'off', spellcheck: 'false', change: () => search(filter.value, true), keydown: (event) => { if (event.key === 'Escape') filter.blur(); } });
  const matched = el('span', { class: 'mut', id: 'matched', role: 'status' });
  const tools = el('div', { class: 'tools' }, button('Copy link', copyLink), ['auto', 'light', 'dark'].map((name) => button(name, () => theme(name), { 'data-name': name })), button('Keys', help));
  bar.append(facts, el('span', { class: 'steps' }, button('‹', () => shift(-0.5), { 'aria-label': 'earlier' }), button('›', () => shift(0.5), { 'aria-label': 'later' })), moment);
  if (!ANSWERS) bar.append(filter, matched);
  bar.append(tools, el('pre', { id: 'wrong', hidden: true }));
  sayFacts();
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
  for (const it of [parts.because, parts.after, parts.actor]) it.made.hidden = true;
  buildSpace();
}

/** How much there is, and how much of it is known. */
function sayFacts() {
  const reading = () => `the trace is being read: ${Math.floor((run.read / Math.max(run.records, 1)) * 100)} %`;
  const words = ANSWERS ? windowWords() : run.goes_on ? `${when(run.last_ns)} so far: the run goes on` : !run.is_read ? reading() : run.trouble ? 'as far as the trace goes' : 'whole trace';
  document.querySelector('#bar .facts').textContent = `${count(run.messages)} messages, ${words}`;
}

function windowWords() {
  return `those from ${when(ANSWERS.extent.from_ns)} to ${when(ANSWERS.extent.to_ns)} are in this file`;
}

// The extent: what all parts show.

const whole = () => (ANSWERS ? [ANSWERS.extent.from_ns, ANSWERS.extent.to_ns] : [0, Math.max(run.last_ns, Math.round(run.page.summary.reached_s * SECOND), LEAST_EXTENT)]);

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
