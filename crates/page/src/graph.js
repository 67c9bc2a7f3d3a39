// The course of a run in columns, and who calls whom in it: what several pages draw.

const ARROW = '→';

/** The lines of a kind in a course. */
const linesOf = (course, kind) => course.lines.filter((line) => line.kind === kind);
/** A column; counts that are not there are 0. */
const column = (line, name) => line.columns[name] || [];
const at = (line, name, window) => column(line, name)[window] ?? null;
const number = (line, name, window) => column(line, name)[window] || 0;
const total = (line, name) => sum(column(line, name));

const serviceOf = (endpoint) => endpoint.slice(0, endpoint.lastIndexOf('.'));

/** Calls in these windows, or in the whole run where there is no course: from, to, rate, share failed. */
function callsIn(run, range) {
  const found = new Map();
  const add = (from, to, isLoad, offered, failed) => {
    const name = JSON.stringify([isLoad, from, to]);
    const it = found.get(name) || { from: (isLoad ? 'load ' : 'service ') + from, to: 'service ' + to, fromName: from, toName: to, offered: 0, failed: 0 };
    it.offered += offered;
    it.failed += failed;
    found.set(name, it);
  };
  let span = run.summary.reached_s;
  if (run.course && range) {
    span = run.course.edges_s[range[1]] - run.course.edges_s[range[0]];
    const within = (one, name) => sum(column(one, name).slice(...range));
    for (const one of linesOf(run.course, 'endpoint')) add(one.of, serviceOf(one.name), true, within(one, 'offered'), within(one, 'failed'));
    for (const one of linesOf(run.course, 'edge')) add(one.of, serviceOf(one.name), false, within(one, 'offered'), within(one, 'failed'));
  } else {
    for (const load of run.summary.loads) for (const it of load.targets) add(load.name, serviceOf(it.target), true, it.requests.offered, it.requests.failed);
    for (const it of run.summary.calls) add(it.from, serviceOf(it.to), false, it.calls, it.failed);
  }
  return [...found.values()].map((it) => ({ ...it, rate: it.offered / (span || 1), share: it.offered ? it.failed / it.offered : 0 }));
}

/** Layers from the loads on; what calls in a circle stands where it is first reached. */
function layersOf(edges) {
  const layer = new Map();
  const nexts = new Map();
  for (const edge of edges) {
    nexts.set(edge.from, [...(nexts.get(edge.from) || []), edge.to]);
    for (const name of [edge.from, edge.to]) if (!layer.has(name)) layer.set(name, 0);
  }
  // The longest way, by rounds: at most as many as there are nodes, so that a circle ends.
  const limit = Math.min(layer.size, 60);
  for (let round = 0; round < limit; round++) {
    let isSame = true;
    for (const { from, to } of edges) {
      if (from !== to && layer.get(to) < layer.get(from) + 1 && layer.get(from) + 1 < limit) {
        layer.set(to, layer.get(from) + 1);
        isSame = false;
      }
    }
    if (isSame) break;
  }
  const used = [...new Set(layer.values())].sort((a, b) => a - b);
  const layers = used.map(() => []);
  for (const [name, place] of layer) layers[used.indexOf(place)].push(name);
  return layers;
}

function drawGraph(box, picture, run, edges, windows) {
  const width = Math.floor(box.clientWidth);
  if (!width) return;
  picture.replaceChildren();
  const frame = { svg: picture, width };
  const layers = layersOf(edges);
  const isNarrow = width < 620;
  const boxWide = Math.min(isNarrow ? 70 : 112, (width / layers.length) * 0.66);
  const boxTall = isNarrow ? 24 : 36;
  const tallest = layers.reduce((all, it) => Math.max(all, it.length), 1);
  const tall = Math.max(isNarrow ? 150 : 130, tallest * (boxTall + (isNarrow ? 22 : 32)));
  const gap = layers.length > 1 ? (width - boxWide - 2) / (layers.length - 1) : 0;
  const place = new Map();
  layers.forEach((names, layer) => names.forEach((name, i) => {
    // A layer apart from the middle, so that a line from before it to after it does not run through a box.
    const shift = names.length === 1 && layer > 0 && layer < layers.length - 1 ? -6 : 0;
    place.set(name, { x: 1 + layer * gap, y: (tall * (i + 0.5)) / names.length + shift });
  }));
  const fastest = most(edges.map((it) => it.rate)) || 1;
  const labels = [];
  for (const edge of [...edges].sort((a, b) => b.rate - a.rate)) {
    const [from, to] = [place.get(edge.from), place.get(edge.to)];
    const [x1, x2] = [from.x + boxWide, to.x];
    const bend = x2 > x1 ? (x2 - x1) / 2 : 40;
    const path = `M${x1} ${from.y}C${x1 + bend} ${from.y} ${x2 - bend} ${to.y} ${x2} ${to.y}`;
    const stroke = 1 + 7 * Math.sqrt(edge.rate / fastest);
    const title = `${edge.fromName} ${ARROW} ${edge.toName}: ${count(edge.offered)} calls, ${figure(edge.rate)}/s, ${count(edge.failed)} failed (${percent(edge.share)})`;
    picture.append(svg('path', { d: path, class: 'edge', 'stroke-width': stroke }, svg('title', null, title)));
    if (edge.failed) picture.append(svg('path', { d: path, class: 'edge red', 'stroke-width': Math.max(stroke * edge.share, 0.8) }, svg('title', null, title)));
    // In the middle of the first gap, where no box is.
    const share = Math.min((gap - boxWide) / 2 / Math.max(x2 - x1, 1), 0.5);
    const [t, u] = [share, 1 - share];
    labels.push([x1 + (gap - boxWide) / 2, (u * u * u + 3 * u * u * t) * from.y + (3 * u * t * t + t * t * t) * to.y, edge]);
  }
  // Labels that would lie on each other are left to the table.
  const taken = [];
  for (const [x, y, edge] of isNarrow ? [] : labels) {
    const words = `${figure(edge.rate)}/s${edge.failed ? ' ' + percent(edge.share) : ''}`;
    const free = [0, 14, -14, 28, -28].map((shift) => y + shift - 4).find((at_) => !taken.some(([a, b]) => Math.abs(a - x) < 84 && Math.abs(b - at_) < 13));
    if (free === undefined) continue;
    taken.push([x, free]);
    text(frame, x, free, words, 'mid label' + (edge.failed ? ' badt' : ''));
  }
  for (const [id, { x, y }] of place) {
    const name = id.slice(id.indexOf(' ') + 1);
    picture.append(svg('rect', { x, y: y - boxTall / 2, width: boxWide, height: boxTall, rx: 3, class: 'box' }, svg('title', null, name)));
    const under = isNarrow ? '' : underName(run, id, name, windows, edges);
    text(frame, x + boxWide / 2, y + (under ? -2 : 4), short(name, Math.max(3, Math.floor(boxWide / 7.2))), 'strong mid', name);
    if (under) text(frame, x + boxWide / 2, y + 12, under.words, 'mid' + (under.isBad ? ' badt' : ''));
  }
  picture.setAttribute('viewBox', `0 0 ${width} ${tall}`);
  picture.setAttribute('height', tall);
}

/** How many instances of a service were up; of a load its rate. */
function underName(run, id, name, windows, edges) {
  if (id.startsWith('load ')) return { words: `${figure(sum(edges.filter((it) => it.from === id).map((it) => it.rate)))}/s`, isBad: false };
  const one = run.course && linesOf(run.course, 'service').find((it) => it.name === name);
  if (!one || !windows) return null;
  const mean = (name_) => sum(column(one, name_).slice(...windows)) / (windows[1] - windows[0]);
  const [ready, wanted] = [mean('instances_ready'), mean('instances_desired')];
  return { words: `${figure(ready)} of ${figure(wanted)} up`, isBad: ready < wanted - 0.005 };
}
