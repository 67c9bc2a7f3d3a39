// What if?

let forks = null;

function buildFork() {
  const { made, why, body } = parts.fork;
  if (ANSWERS || run.is_live) { made.hidden = true; return; }
  why.textContent = 'goes on with one thing changed, as a run of its own';
  forks = { buttons: el('div', { class: 'whatif' }), asks: el('div', null), result: el('div', { id: 'forked' }) };
  body.append(forks.buttons, forks.asks, forks.result);
  showFork();
}

/** What can be changed here: the chosen message, the actor, the rate of its load, a value of the file. */
function showFork() {
  if (!forks) return;
  const record = told?.message?.record ?? null;
  const is = (kind) => look.at !== null && look.who !== null && run.actors[look.who]?.kind === kind;
  const node = is('node') ? look.who : null;
  const load = is('load') ? look.who : null;
  const at_ns = Math.round(look.at ?? 0);
  const isTravelling = record !== null && told.message.from !== told.message.to && !told.message.lost;
  const made = [
    isTravelling ? button('Drop this message', () => fork({ act: 'drop', record })) : null,
    isTravelling ? button('Delay it …', () => forkWith('by how much', '50ms', (by) => fork({ act: 'delay', record, by }))) : null,
    record !== null && told.message.lost && told.message.from !== told.message.to ? button('Deliver it', () => fork({ act: 'deliver', record })) : null,
    node !== null ? button(`Crash ${short(actorName(node), 16)} …`, () => forkWith('for how long', '10s', (length) => fork({ act: 'crash', actor: node, at_ns, length }))) : null,
    load !== null ? button(`Change the rate of ${short(actorName(load), 16)} …`, () => forkWith('from this moment on', `${plannedRate(load)}/s`, (rate) => fork({ act: 'rate', load, at_ns, rate }))) : null,
    button('Change a value …', () => forkWith('path=value, from the beginning', 'control.missed=1', (value) => fork({ act: 'set', value }))),
  ].filter((it) => it);
  forks.buttons.replaceChildren(...made);
  forks.asks.replaceChildren();
}

/** Twice the rate at which a load offers requests now. */
function plannedRate(load) {
  const course = run.page.course;
  const line = course && linesOf(course, 'load').find((it) => it.name === actorName(load));
  const last = view.edges.findLastIndex((it) => it * SECOND <= look.at);
  const i = Math.min(Math.max(last, 0), view.windows - 1);
  const now = line ? number(line, 'offered', i) / (view.edges[i + 1] - view.edges[i]) : 0;
  return Math.round(2 * now) || 100;
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
  result.replaceChildren(el('p', { class: 'mut', role: 'status' }, 'The fork is run …'));
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
  const shown = first ? first.message ?? (first.side === 'here' ? first.link.record : null) : null;
  const what = first ? `${first.link.actor}: ${first.link.what.trim().replace(/\s+/g, ' ')}` : '';
  const words = first ? [el('b', null, 'The first that differs: '), shown === null ? what : button(what, () => choose(shown, { isNew: true, keepsExtent: false }), { 'data-first': shown }),
    `, at ${when(first.at_ns)}, ${first.side === 'here' ? 'in this run; not then in the fork' : 'in the fork; not in this run'}. ${count(first.same)} records before it are the same.`] : 'No message differs: the two runs are the same.';
  forks.result.replaceChildren(box, el('p', { class: 'said', id: 'parted' }, `${count(failed[0])} ${ARROW} ${count(failed[1])} failed; ${count(it.otherwise)} ended otherwise. `, words),
    el('p', { class: 'mut' }, it.from_ns === null ? 'It was run from the beginning. ' : `It goes on from ${when(it.from_ns)}. `, 'It is kept: ', el('code', null, `meshsim explore ${it.folder}`)));
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
