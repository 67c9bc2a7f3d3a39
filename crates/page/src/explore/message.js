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
  for (const it of [parts.because, parts.after]) { it.body.replaceChildren(); it.made.hidden = true; }
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
    fact('bytes', message.bytes === null ? null : count(message.bytes)),
    fact('records', message.end ? `${count(message.record)}, ${count(message.end)}` : count(message.record)),
  ] : [fact('actor', told.actor), fact('what', told.what), fact('at', when(told.at_ns))];
  const content = message?.content ? el('details', null, el('summary', null, 'Content'), el('pre', null, JSON.stringify(message.content, null, 1))) : null;
  parts.message.body.replaceChildren(el('table', { class: 'facts' }, el('tbody', null, rows)), content ?? '');
  const origin = drawn && message?.request === drawn.request ? drawn.due_ns : null;
  [parts.because.made.hidden, parts.after.made.hidden] = [false, !told.because];
  if (!told.because) {
    parts.because.why.textContent = '';
    parts.because.body.replaceChildren(el('p', { class: 'mut' }, 'This file does not hold what it follows from; `meshsim explore` does.'));
    return;
  }
  parts.because.why.textContent = origin === null ? '' : 'time since the request was due';
  parts.because.body.replaceChildren(chain(told.because, told.before, 0, origin));
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

/** What an actor does, where the trace has a word for it. */
const VERBS = { timer_fire: 'timer:', timer_set: 'sets a timer:', timer_clear: 'clears a timer:', deliver: 'gets', send: 'sends', slot: 'gets a slot', queued: 'waits', answered: 'answers', due: 'plans',
  turned_away: 'refuses it', late: 'finds it late', cut: 'cuts it short', try_ended: 'sees', apply: 'applies', decide: 'decides', refuse: 'refuses', crash: 'goes down', restart: 'comes up' };

/** Records as a list, each a button that leads there. */
function chain(links, before, after, origin) {
  const item = (it) => {
    const at_ = origin === null ? when(it.at_ns) : `${((it.at_ns - origin) / 1e6).toFixed(1)} ms`;
    const [verb, ...rest] = it.what.trim().split(/\s+/);
    const words = [it.actor ? el('b', null, short(it.actor, 24)) : null, ' ', it.actor ? `${VERBS[verb] ?? verb.replaceAll('_', ' ')} ${rest.join(' ')}` : it.what];
    const isHere = it.record === told.record;
    const inner = it.record === null || it.record === undefined ? el('span', null, words) : button(words, () => choose(it.record, { isNew: true, keepsExtent: false }), { 'data-record': it.record });
    return el('li', { class: isHere ? 'here' : null, 'aria-current': isHere ? 'true' : null }, el('time', null, at_), inner);
  };
  const more = (n) => (n ? el('li', { class: 'mut' }, el('time', null, ''), `${count(n)} more`) : null);
  return el('ol', { class: 'chain' }, before === null ? el('li', { class: 'mut' }, el('time', null, ''), 'and more before') : more(before), links.map(item), after === null ? el('li', { class: 'mut' }, el('time', null, ''), 'and more') : more(after));
}
