// What the explorer shows of a run: the course, a request, messages in space and time, steps, who calls whom, and beside
// them what is known of a message and of an actor. It asks its server; as a file of its own it has all answers with it.

const ANSWERS = JSON.parse(document.getElementById('data').textContent);
const asked = new URLSearchParams(location.hash.slice(1));
/** Nanoseconds. */
const SECOND = 1e9;
const LEAST_EXTENT = 1000;
const KIND_WORDS = { queue: 'waiting for a slot', work: 'work', cores: 'waiting for a core', sleep: 'sleep', network: 'on the way', retry: 'pause before a retry', breaker: 'waiting at the circuit breaker', pool: 'waiting for a connection', activator: 'waiting for an instance', proxy: 'at proxies', below: 'waits for its calls' };

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
      const it = ANSWERS.records[word('n')] ?? bare(Number(word('n')));
      if (!it) throw none('this record is not in this file');
      return it;
    }
    case '/api/steps': return ANSWERS.steps;
    default: throw none('this is not in this file');
  }
}

/** What a file knows of a message of which it does not hold more. */
function bare(record) {
  const { extent, run: { actors, reasons } } = ANSWERS;
  const i = extent.record.findIndex((it, at) => it === record || extent.end[at] === record);
  if (i < 0) return null;
  const [fate, took, sent] = [extent.fate[i], extent.took[i], extent.from_ns + extent.sent[i]];
  const [kind, words] = extent.said[extent.words[i]];
  const message = { record: extent.record[i], end: took < 0 ? null : extent.end[i], from: extent.from[i], to: extent.to[i], receiver: actors[extent.to[i]]?.name ?? 'nobody', kind, words,
    request: null, deadline_ns: null, failure: null, bytes: null, sent_ns: sent, end_ns: took < 0 ? null : sent + took, lost: fate & FATE.LOST ? reasons[fate >> FATE.REASON] : null,
    is_late: Boolean(fate & FATE.LATE), is_copy: Boolean(fate & FATE.COPY), was_held: Boolean(fate & FATE.HELD), content: null };
  return { record, at_ns: sent, actor: actors[extent.from[i]]?.name, what: words, message, because: null, before: 0, and_so: [], after: 0 };
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
  } catch (error) {
    if (error.name === 'AbortError') return;
    if (!(error instanceof Error)) throw error;
    part.replaceChildren(el('p', { class: 'remark' }, error.message + (error.help ? '. ' + error.help : '')));
  }
}

/** What is said over all else, until it is no longer so: that nobody answers (`gone`), that the trace ends early (`ends`). */
function banner(words, kind = 'gone') {
  document.querySelector('.banner.' + kind)?.remove();
  if (words) document.querySelector('main').prepend(el('p', { class: 'banner ' + kind, role: 'alert' }, words));
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
