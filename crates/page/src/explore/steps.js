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
  why.textContent = range ? between(view.edges[range[0]], view.edges[range[1]]) : 'the whole run';
  drawGraph(box, picture, run.page, edges, range);
}
