// What a report shows: figures beside the verdicts and tables that are in the HTML already.

const runs = JSON.parse(document.getElementById('data').textContent).runs;
const figures = document.getElementById('figures');
const REASONS = ['refused', 'error', 'timeout', 'lost', 'no_instance', 'cut'];
const POLICIES = ['ejections', 'overflows', 'hedges', 'limited', 'shed'];
/** Fewer beyond a percentile make it a figure of single requests. */
const BEYOND_MIN = 10;

/** What the address says is looked at: run, load, extent. */
const asked = new URLSearchParams(location.hash.slice(1));
/** What opens and closes the table of each figure. */
let opened = [];
let current = Math.min(Math.max(Number(asked.get('run')) || 0, 0), runs.length - 1);
let view = null;

/** Writes to the address what is looked at. */
function remember(changes, isNew) {
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) asked.delete(name);
    else asked.set(name, value);
  }
  const words = asked.toString();
  const address = words ? '#' + words : location.pathname + location.search;
  history[isNew ? 'pushState' : 'replaceState'](null, '', words ? address : '#');
}

function length(course) {
  const [a, b] = course.edges_s;
  return b - a;
}

/** A figure's section: its name, what it shows, tools, and a table in its place. */
function section(title, why, plots, makeTable, more) {
  const readout = el('p', { class: 'readout', role: 'status' });
  const body = el('div', null);
  const under = el('div', { hidden: true });
  const tools = el('div', { class: 'tools' });
  if (makeTable) {
    const save_ = el('button', { type: 'button', hidden: true, click: () => {
      save(title.toLowerCase().replace(/[^a-z]+/g, '-') + '.csv', csv(under.querySelector('table')));
    } }, 'CSV');
    const toggle = el('button', { type: 'button', 'aria-pressed': 'false', click: () => open(under.hidden) }, 'table');
    const open = (isOpen) => {
      if (isOpen) under.replaceChildren(el('div', { class: 'scroll tall' }, makeTable()));
      under.hidden = !isOpen;
      body.hidden = isOpen;
      save_.hidden = !isOpen;
      toggle.setAttribute('aria-pressed', String(isOpen));
      if (!isOpen && view) view.redraw();
    };
    opened.push(open);
    tools.append(save_, toggle);
  }
  const made = el('section', { class: 'figure' },
    el('header', null, el('h2', null, title), el('span', { class: 'why' }, why), more || null, tools), readout, body, under);
  figures.append(made);
  if (!plots(body, readout)) readout.remove();
  return made;
}

/** How long a column is, and what was merged. */
function windowsIn(course) {
  const merged = course.merged > 1 ? ` (${course.merged} windows merged: percentiles are the highest of theirs)` : '';
  return seconds(length(course)) + ' a column' + merged;
}

const when = (course, i) => between(course.edges_s[i], course.edges_s[i + 1]);

// The course.

function theCourse(run) {
  const { course } = run;
  const choices = [...linesOf(course, 'load'), ...linesOf(course, 'endpoint')];
  if (!choices.length) return;
  let chosen = choices[Math.min(Math.max(Number(asked.get('of')) || 0, 0), choices.length - 1)];
  const nameOf = (line) => (line.kind === 'load' ? line.name : `${line.of}: ${line.name}`);
  const select = el('select', { 'aria-label': 'Load or endpoint', change: () => {
    chosen = choices[select.selectedIndex];
    remember({ of: select.selectedIndex || null });
    view.redraw();
  } }, choices.map((line) => el('option', { selected: line === chosen }, short(nameOf(line), 40))));
  const columnsOf = ['offered', 'done', 'failed', ...REASONS, 'unfinished', 'retries'];
  const makeTable = () => {
    const heads = ['window', ...columnsOf.map((it) => it.replace('_', ' ')), 'p50', 'p90', 'p99', 'max', 'in flight', 'most'];
    const rows = course.edges_s.slice(0, -1).map((_, i) => [when(course, i),
      ...columnsOf.map((name) => ({ text: count(number(chosen, name, i)), value: number(chosen, name, i) })),
      ...['p50_ns', 'p90_ns', 'p99_ns', 'max_ns'].map((name) => ({ text: time(at(chosen, name, i)), value: at(chosen, name, i) })),
      { text: figure(number(chosen, 'in_flight_mean', i)), value: number(chosen, 'in_flight_mean', i) },
      { text: count(at(chosen, 'in_flight_max', i)), value: at(chosen, 'in_flight_max', i) }]);
    const foot = ['all', ...columnsOf.map((name) => ({ text: count(total(chosen, name)), value: total(chosen, name) })),
      '', '', '', { text: time(most(column(chosen, 'max_ns')) || null), value: most(column(chosen, 'max_ns')) || '' }, '', ''];
    const made = table(heads, rows, foot);
    made.dataset.table = 'course';
    return made;
  };
  section('The course', `${windowsIn(course)}; a request counts in the window in which it was due, so done + failed + unfinished = offered in each`,
    (body, readout) => {
      readout.dataset.hint = 'Point at a window for its figures; drag to zoom, 0 for all, ? for the keys.';
      readout.say = (i) => {
        const parts = [`${when(course, i)}: ${count(number(chosen, 'offered', i))} due`, `${count(number(chosen, 'done', i))} done`];
        for (const reason of REASONS) if (number(chosen, reason, i)) parts.push(`${count(number(chosen, reason, i))} ${reason.replace('_', ' ')}`);
        if (number(chosen, 'unfinished', i)) parts.push(`${count(number(chosen, 'unfinished', i))} unfinished`);
        const done = number(chosen, 'done', i);
        for (const [name, share] of [['p50', 0.5], ['p90', 0.1], ['p99', 0.01]]) {
          const value = at(chosen, name + '_ns', i);
          if (value === null) continue;
          const beyond = Math.floor(done * share);
          parts.push(`${name} ${time(value)}${beyond < BEYOND_MIN ? ` (${beyond} beyond)` : ''}`);
        }
        if (at(chosen, 'max_ns', i) !== null) parts.push(`max ${time(at(chosen, 'max_ns', i))}`);
        const flight = at(chosen, 'in_flight_max', i) ?? (column(chosen, 'in_flight_max').length ? null : 0);
        if (flight !== null) parts.push(`${count(flight)} in flight`);
        return parts.join(', ');
      };
      const label = `Requests, latency, failures and requests in flight over time, of ${nameOf(chosen)}`;
      body.append(timePlot(view, label, (frame) => drawCourse(frame, run, chosen), readout));
      return true;
    }, makeTable, choices.length > 1 ? select : null);
}

/** The summary's figures of a line of the course. */
function summaryOf(run, line) {
  const load = run.summary.loads.find((it) => it.name === (line.kind === 'load' ? line.name : line.of));
  if (!load) return null;
  if (line.kind === 'load') return load.requests;
  return load.targets.find((it) => it.target === line.name)?.requests ?? null;
}

/** Events of policies in each window, of one kind: of loads, of calls between services, and of services. */
function policiesOf(course, kind) {
  const sums = course.edges_s.slice(1).map(() => 0);
  for (const of of ['load', 'edge', 'service']) {
    for (const line of linesOf(course, of)) column(line, kind).forEach((value, i) => { sums[i] += value ?? 0; });
  }
  return sums;
}

/** Misses of caches and messages that wait, of all services, with what is said of them. */
function storesOf(course) {
  const [hits, misses, messages] = ['cache_hits', 'cache_misses', 'messages_mean'].map((kind) => policiesOf(course, kind));
  const share = Math.round(100 * sum(misses) / Math.max(sum(hits) + sum(misses), 1));
  return [
    ['misses', misses, `misses ${share} %`],
    ['messages', messages, `messages ${figure(most(messages))}`],
  ];
}

/** A panel of columns for each of these counts, [name, values, words], that is not zero throughout. */
function eachToItsTop(frame, y, title, of, counts, look) {
  const [first, after] = frame.view.range;
  const shown = counts.map(([name, values, words]) => [name, values, values.reduce((sum, it) => sum + (it ?? 0), 0), words]).filter((it) => it[2]);
  if (!shown.length) return y;
  y = panelName(frame, y + 6, title, of, ...(shown.length > 1 ? ['each to its own top'] : []));
  for (const [name, values, sum, said] of shown) {
    const peak = most(values.slice(first, after)) || 1;
    rule(frame, frame.left, y + 24, frame.right, y + 24, 'axis');
    text(frame, frame.left - 8, y + 12, count(peak), 'end');
    columns(frame, y + 2, 22, peak, [[values, look]]);
    const words = said ?? `${name.replace('_', ' ')} ${count(sum)}`;
    if (frame.isNarrow) text(frame, frame.left + 6, y + 13, words, 'ink label');
    else text(frame, frame.right + 10, y + 20, words, 'ink');
    y += 30;
  }
  return y + 6;
}

function drawCourse(frame, run, chosen) {
  const { course } = run;
  const seconds_ = length(course);
  const requests = summaryOf(run, chosen);
  const load = run.summary.loads.find((it) => it.name === (chosen.kind === 'load' ? chosen.name : chosen.of));
  let y = lanes(frame, 2, run.lanes.bars, run.lanes.marks, 6);
  const shadesFrom = y;

  // Requests.
  y = panelName(frame, y + 6, 'Requests', 'a second');
  let tall = frame.isNarrow ? 56 : 66;
  const rates = (name) => column(chosen, name).map((n) => (n || 0) / seconds_);
  const [done, failed, unfinished] = ['done', 'failed', 'unfinished'].map(rates);
  const [first, after] = view.range;
  const offered = rates('offered');
  const highest = ticks(0, most(offered.slice(first, after)) * 1.02 || 1, 2).pop() || 1;
  const top = Math.max(highest, most(offered.slice(first, after))) || 1;
  for (const value of ticks(0, top, 2)) {
    const place = y + tall - (value / top) * tall;
    rule(frame, frame.left, place, frame.right, place, 'grid');
    text(frame, frame.left - 8, place + 4, figure(value), 'end');
  }
  columns(frame, y, tall, top, [[done, 'done'], [failed, 'failed'], [unfinished, 'open']]);
  endLabels(frame, [total(chosen, 'failed') ? [y + 6, `failed ${count(total(chosen, 'failed'))}`, 'badt'] : null,
    [y + 26, `done ${count(total(chosen, 'done'))}`, ''],
    total(chosen, 'unfinished') ? [y + 46, `unfinished ${count(total(chosen, 'unfinished'))}`, ''] : null]);
  worstLabel(frame, run, chosen, y);
  y += tall + 14;

  // Latency.
  y = panelName(frame, y + 6, 'Latency', 'log scale', 'grey dots: max');
  tall = frame.isNarrow ? 120 : 140;
  const values = (name) => column(chosen, name).filter((it) => it !== null && it > 0);
  const lowest = values('p50_ns').reduce((a, b) => Math.min(a, b), Infinity);
  if (lowest < Infinity) {
    const bounds = run.bounds.filter((it) => (it.load === null || run.summary.loads[it.load]?.name === load?.name)
      && (it.target === null || (chosen.kind === 'endpoint' && load?.targets[it.target]?.target === chosen.name)));
    const [from, to] = latencyRange(run, bounds);
    const scale = logarithmic(from, to, y + tall, y);
    for (const value of decades(from, to)) {
      const isDecade = /^1(e|0*$)/.test(String(value));
      rule(frame, frame.left, scale(value), frame.right, scale(value), 'grid');
      if (isDecade || to / from < 2000) text(frame, frame.left - 8, scale(value) + 4, time(value), 'end');
    }
    boundLines(frame, scale, bounds, [from, to]);
    const weight = (share) => (i) => {
      const beyond = number(chosen, 'done', i) * share;
      return beyond + 1e-6 >= BEYOND_MIN ? 2 : beyond + 1e-6 >= 1 ? 1 : 0;
    };
    const dots = column(chosen, 'max_ns').map((value, i) => (value > 0 && i >= first && i < after
      ? `M${frame.x((course.edges_s[i] + course.edges_s[i + 1]) / 2).toFixed(2)} ${scale(value).toFixed(2)}h.01` : '')).join('');
    if (dots) frame.svg.append(svg('path', { d: dots, class: 'line max', 'stroke-linecap': 'round', 'stroke-width': 2.2 }));
    line(frame, scale, column(chosen, 'p50_ns'), 'p50', weight(0.5));
    line(frame, scale, column(chosen, 'p90_ns'), 'p90', weight(0.1));
    line(frame, scale, column(chosen, 'p99_ns'), 'p99', weight(0.01));
    if (requests) {
      const end = (name, kind) => {
        const overall = requests.latency[name + '_ns'];
        if (overall === null) return null;
        const last = column(chosen, name + '_ns').slice(first, after).filter((it) => it > 0).pop();
        return [scale(last ?? overall), `${name} ${time(overall)}`, kind];
      };
      endLabels(frame, [end('p99', 'strong'), end('p90', ''), end('p50', '')]);
    }
    const longest = course.edges_s.slice(0, -1).map((_, i) => i).filter((i) => i >= first && i < after)
      .reduce((a, b) => (number(chosen, 'max_ns', b) > number(chosen, 'max_ns', a) ? b : a), first);
    if (number(chosen, 'max_ns', longest)) {
      const x = frame.x((course.edges_s[longest] + course.edges_s[longest + 1]) / 2);
      const max = `max ${time(at(chosen, 'max_ns', longest))}`;
      const whole = `${max}, due at ${seconds(course.edges_s[longest])}`;
      const words = wide(whole) + 10 < Math.max(frame.right - x, x - frame.left) ? whole : max;
      const isRight = x + 10 + wide(words) < frame.right;
      text(frame, isRight ? x + 8 : x - 8, scale(at(chosen, 'max_ns', longest)) + 4, words, 'ink label' + (isRight ? '' : ' end'));
    }
  } else text(frame, frame.left, y + 20, 'Nothing was answered.');
  y += tall + 10;

  // By version, where there is more than one.
  for (const [service, versions] of byService(course, 'version')) {
    y = panelName(frame, y + 6, service, 'p90 by version', 'log scale');
    y = byVersion(frame, course, versions, y) + 8;
  }

  // Failures by reason, and what policies did, each to its own top.
  y = eachToItsTop(frame, y, 'Failed', 'by reason', REASONS.map((reason) => [reason, column(chosen, reason)]), 'failed');
  y = eachToItsTop(frame, y, 'Policies', 'callers, instances', POLICIES.map((kind) => [kind, policiesOf(course, kind)]), 'done');

  y = eachToItsTop(frame, y, 'Caches, queues', 'all services', storesOf(course), 'done');

  // In flight.
  y = panelName(frame, y + 6, 'In flight', 'most in a window');
  tall = 44;
  const flight = column(chosen, 'in_flight_max').slice(first, after);
  const flightTop = most(flight) || 1;
  for (const value of ticks(0, flightTop, 2)) {
    const place = y + tall - (value / flightTop) * tall;
    rule(frame, frame.left, place, frame.right, place, 'grid');
    text(frame, frame.left - 8, place + 4, figure(value), 'end');
  }
  line(frame, linear(0, flightTop, y + tall, y), column(chosen, 'in_flight_max'), 'p90');
  const peakAt = flight.indexOf(flightTop);
  if (peakAt >= 0) {
    const x = frame.x((course.edges_s[first + peakAt] + course.edges_s[first + peakAt + 1]) / 2);
    const words = `${count(flightTop)} at ${seconds(course.edges_s[first + peakAt])}`;
    const isRight = x + 14 + wide(words) < frame.right;
    text(frame, isRight ? x + 10 : x - 10, y + 8, words, 'ink label' + (isRight ? '' : ' end'));
  }
  y += tall + 6;
  shades(frame, shadesFrom, y, run.lanes.bars);
  if (load && load.from_s > view.extent[0] && load.warmup) {
    const x = Math.min(frame.x(load.from_s), frame.right);
    // Where it is narrow, the names of panels stand here.
    if (!frame.isNarrow) rect(frame, frame.left, shadesFrom, x - frame.left, y - shadesFrom, 'veil');
    text(frame, frame.left, shadesFrom + 10, 'warm-up', 'label', `${count(load.warmup)} requests of the warm-up are not counted`);
  }
  if (run.summary.cut_short && run.summary.reached_s < view.extent[1]) {
    rect(frame, frame.x(run.summary.reached_s), shadesFrom, frame.right - frame.x(run.summary.reached_s), y - shadesFrom, 'veil');
  }
  return timeAxis(frame, y);
}

/** The same latencies have the same place in every run. */
function latencyRange(run, bounds) {
  let [low, high] = [Infinity, 0];
  for (const other of runs) {
    for (const one of other.course ? [...linesOf(other.course, 'load'), ...linesOf(other.course, 'endpoint')] : []) {
      for (const value of column(one, 'p50_ns')) if (value > 0) low = Math.min(low, value);
      high = Math.max(high, most(column(one, 'max_ns')));
    }
  }
  for (const bound of bounds) high = Math.max(high, Math.min(bound.ns, high * 4));
  const down = decades(low / 5, low).filter((it) => it <= low).pop() || low;
  const up = decades(high, high * 5).find((it) => it >= high) || high;
  return [down, Math.max(up, down * 10)];
}

/** Says where most failed, on the columns. */
function worstLabel(frame, run, chosen, y) {
  const { course } = run;
  const worst = worstOf(course, [chosen]);
  if (!worst) return;
  const [from, to] = [course.edges_s[worst[0]], course.edges_s[worst[1]]];
  if (to <= view.extent[0] || from >= view.extent[1] || view.extent[0] > view.whole[0]) return;
  const [failed, offered] = ['failed', 'offered'].map((name) => sum(column(chosen, name).slice(...worst)));
  const words = `${percent(failed / offered)} failed`;
  const x = Math.min(frame.x(to) + 4, frame.right - wide(words));
  text(frame, x, y + 2, words, 'badt label', `${between(from, to)}: ${count(failed)} of ${count(offered)} failed`);
}

/** The worst windows: those about the one with most failures in which at least a quarter of its share failed. */
function worstOf(course, lines) {
  const share = (i) => sum(lines.map((it) => number(it, 'failed', i))) / (sum(lines.map((it) => number(it, 'offered', i))) || 1);
  const failed = course.edges_s.slice(0, -1).map((_, i) => sum(lines.map((it) => number(it, 'failed', i))));
  const peak = most(failed);
  if (!peak) return null;
  let from = failed.indexOf(peak);
  let to = from + 1;
  const least = share(from) / 4;
  while (from > 0 && share(from - 1) >= least) from--;
  while (to < failed.length && share(to) >= least) to++;
  return [from, to];
}

function byService(course, kind) {
  const found = new Map();
  for (const one of linesOf(course, kind)) {
    if (!found.has(one.of)) found.set(one.of, []);
    found.get(one.of).push(one);
  }
  return found;
}

/** p90 of each version: told apart by dashes and by name. */
function byVersion(frame, course, versions, y) {
  const all = versions.flatMap((it) => column(it, 'p90_ns')).filter((it) => it > 0);
  if (!all.length) return y;
  const [low, high] = [all.reduce((a, b) => Math.min(a, b)), most(all)];
  const down = decades(low / 5, low).filter((it) => it <= low).pop() || low;
  const up = decades(high, high * 5).find((it) => it >= high) || high;
  const tall = 56;
  const scale = logarithmic(down, Math.max(up, down * 2), y + tall, y);
  for (const value of decades(down, up)) {
    rule(frame, frame.left, scale(value), frame.right, scale(value), 'grid');
    text(frame, frame.left - 8, scale(value) + 4, time(value), 'end');
  }
  const labels = [];
  versions.forEach((version, place) => {
    const kind = place % 2 ? 'p99' : 'p90 dashed';
    const values = column(version, 'p90_ns');
    line(frame, scale, values, kind, (i) => (number(version, 'done', i) >= 100 ? 2 : number(version, 'done', i) >= 10 ? 1 : 0));
    const last = values.map((value, i) => [value, i]).filter(([value]) => value > 0).pop();
    if (!last) return;
    labels.push([scale(last[0]), `version ${version.name}${place % 2 ? '' : ' (dashed)'}`, 'ink']);
    if (frame.isNarrow) text(frame, frame.x(course.edges_s[last[1]]) - 4, scale(last[0]) - 6, 'v' + version.name, 'ink label end');
  });
  endLabels(frame, labels);
  return y + tall;
}

// Where it failed.

function whereItFailed(run) {
  const { course } = run;
  const services = linesOf(course, 'service');
  if (!services.length) return;
  const rows = services.map((one) => ({
    label: one.name,
    right: `${count(total(one, 'failed'))} of ${count(total(one, 'offered'))}`,
    values: course.edges_s.slice(0, -1).map((_, i) => (number(one, 'offered', i) ? number(one, 'failed', i) / number(one, 'offered', i) : 0)),
    one,
  }));
  const makeTable = () => cellsTable(course, rows.filter((row) => total(row.one, 'failed')), ['service', 'window', 'calls', 'failed', 'share'], (row, i) => {
    const [offered, failed] = [number(row.one, 'offered', i), number(row.one, 'failed', i)];
    return failed ? [row.label, when(course, i), { text: count(offered), value: offered }, { text: count(failed), value: failed },
      { text: percent(failed / offered), value: failed / offered }] : null;
  });
  section('Where it failed', `services, share of their calls that failed; ${seconds(length(course))} a column${leftOut(course, 'service')}`, (body, readout) => {
    let map = null;
    const plot = timePlot(view, 'Share of failed calls, by service and window', (frame) => {
      map = heatMap(frame, 4, rows, frame.isNarrow ? 15 : 17, '--bad', false);
      return timeAxis(frame, map.bottom + 3);
    }, readout);
    readout.say = (i) => {
      const row = rows[map ? map.rowAt(plot.pointerY) : -1];
      const told = row ? [row] : rows.filter((it) => it.values[i] > 0);
      const parts = told.map((it) => `${it.label} ${count(number(it.one, 'failed', i))} of ${count(number(it.one, 'offered', i))}`);
      return `${when(course, i)}: ${parts.length ? parts.join(', ') : 'nothing failed'}`;
    };
    body.append(plot, key('share failed', 'failed', [0.001, 0.01, 0.1, 0.5, 1], percent));
    return true;
  }, makeTable);
}

/** What colours mean. */
function key(title, kind, values, shown) {
  return el('div', { class: 'key' }, title, values.map((value) => el('span', null,
    svg('svg', { 'aria-hidden': 'true' }, svg('rect', { width: 18, height: 11, class: kind, opacity: Math.min(1, 0.18 + 0.82 * Math.sqrt(value)) })), shown(value))));
}

/** A table of a heat map: its cells that say something, at most 1,000. */
function cellsTable(course, rows, heads, cell) {
  const cells = [];
  let left = 0;
  for (const row of rows) {
    for (let i = 0; i < course.edges_s.length - 1; i++) {
      const made = cell(row, i);
      if (!made) continue;
      if (cells.length < 1000) cells.push(made);
      else left++;
    }
  }
  if (left) cells.push([`and ${count(left)} more, in series.csv`, ...heads.slice(1).map(() => '')]);
  return table(heads, cells);
}

const leftOut = (course, kind) => (course.left_out[kind] ? `; ${count(course.left_out[kind])} more are not drawn` : '');

// How full each instance was.

function howFull(run) {
  const { course } = run;
  const groups = byService(course, 'instance');
  if (!groups.size) return;
  const rows = [];
  for (const [service, instances] of groups) {
    instances.forEach((one, place) => rows.push({
      label: place === 0 ? service : '',
      more: place === 0 ? `${instances.length} × ${figure(run.slots[service] ?? null)}` : '',
      gapBefore: place === 0 ? 5 : 0,
      values: course.edges_s.slice(0, -1).map((_, i) => (number(one, 'slots', i) > 0 ? number(one, 'slots_in_use', i) / number(one, 'slots', i) : null)),
      one,
    }));
    // A label needs more room than a thin row has.
    const short_ = 3 - instances.length;
    if (short_ > 0) rows[rows.length - 1].after = short_;
  }
  rows.forEach((row, i) => { if (i && rows[i - 1].after) row.gapBefore += rows[i - 1].after * 5; });
  const tall = rows.length > 120 ? 3 : 5;
  const makeTable = () => cellsTable(course, rows, ['service', 'instance', 'window', 'calls', 'failed', 'slots', 'in use', 'waiting, most'], (row, i) => {
    if (row.values[i] === null) return null;
    const figures_ = [['offered', count], ['failed', count], ['slots', figure], ['slots_in_use', figure], ['queue_max', count]];
    return [row.one.of, row.one.name, when(course, i), ...figures_.map(([name, shown]) => ({ text: shown(number(row.one, name, i)), value: number(row.one, name, i) }))];
  });
  section('How full each instance was', `slots in use of those it has; ${count(rows.length)} ${rows.length === 1 ? 'instance' : 'instances'} by service and node; blank: not there${leftOut(course, 'instance')}`, (body, readout) => {
    let map = null;
    const plot = timePlot(view, 'Slots in use, by instance and window', (frame) => {
      map = heatMap(frame, 2, rows, tall, '--p99', true);
      const y = timeAxis(frame, map.bottom + 4);
      for (const bar of run.lanes.bars.filter((it) => it.is_fault)) {
        for (const edge of [bar.from_s, bar.to_s]) {
          if (edge > view.extent[0] && edge < view.extent[1]) rule(frame, frame.x(edge), 0, frame.x(edge), map.bottom + 4, 'slo');
        }
      }
      return y;
    }, readout);
    readout.dataset.hint = 'Point at an instance.';
    readout.say = (i) => {
      const row = rows[map ? map.rowAt(plot.pointerY) : -1];
      if (!row) return when(course, i);
      const name = `${when(course, i)}: ${row.one.of} on ${row.one.name}`;
      if (row.values[i] === null) return `${name}, not there`;
      return `${name}, ${figure(number(row.one, 'slots_in_use', i))} of ${figure(number(row.one, 'slots', i))} slots in use, `
        + `at most ${count(number(row.one, 'queue_max', i))} waiting, ${count(number(row.one, 'failed', i))} of ${count(number(row.one, 'offered', i))} failed`;
    };
    body.append(plot, key('slots in use', 'keyp99', [0, 0.1, 0.25, 0.5, 1], percent));
    return true;
  }, makeTable);
}

// Latency of what was answered.

const QUANTILES = [['p50', 0.5], ['p75', 0.25], ['p90', 0.1], ['p95', 0.05], ['p99', 0.01], ['p99.9', 0.001]];

function latency(run) {
  const all = run.summary.loads.flatMap((load) => (load.targets.length > 1
    ? [{ name: load.name, requests: load.requests }] : []).concat(load.targets.map((it) => ({ name: it.target, requests: it.requests }))));
  const shown = all.filter((it) => it.requests.latency.p50_ns !== null).slice(0, 24);
  if (!shown.length) return;
  const low = shown.map((it) => it.requests.latency.p50_ns).reduce((a, b) => Math.min(a, b));
  const high = most(shown.map((it) => it.requests.latency.max_ns));
  const from = decades(low / 10, low).filter((it) => it <= low / 1.5).pop() || low;
  const to = decades(high, high * 10).find((it) => it >= high) || high * 2;
  const makeTable = () => table(['endpoint', 'answered', 'mean', ...QUANTILES.map((it) => it[0]), 'max'], all.map(({ name, requests }) => [name,
    { text: count(requests.done), value: requests.done },
    ...['mean', ...QUANTILES.map((it) => it[0]), 'max'].map((q) => ({ text: time(requests.latency[q + '_ns']), value: requests.latency[q + '_ns'] }))]));
  const hasBins = shown.every((it) => (it.requests.latency_bins || []).length);
  const least = hasBins ? shown.map((it) => binBegin(it.requests.latency_bins[0][0])).reduce((a, b) => Math.min(a, b)) : from;
  const about = hasBins ? 'how many took so long, 20 bins a decade; below it the percentiles'
    : 'how many took longer than so long, both scales logarithmic; dots are the percentiles';
  section('Latency of what was answered', about, (body) => {
    const grid = el('div', { class: 'grid2' });
    for (const { name, requests } of shown) {
      const box = el('div', { class: 'plot' }, el('h3', null, name));
      const picture = svg('svg', { role: 'img', 'aria-label': `${name}: p50 ${time(requests.latency.p50_ns)}, p99 ${time(requests.latency.p99_ns)}, max ${time(requests.latency.max_ns)}` });
      box.append(picture);
      grid.append(box);
      view.drawn.push(() => (hasBins ? drawBins(box, picture, requests, Math.min(from, least), to) : drawQuantiles(box, picture, requests.latency, from, to)));
    }
    body.append(grid);
    return false;
  }, makeTable);
}

/** Of each endpoint, four groups of requests: the mean of their critical paths, as parts that add up. */
function whereTheTimeWent(run) {
  if (!run.time.length) return;
  const rows = run.time.flatMap((of) => of.groups.flatMap((group) => group.parts.map((part) => [of.endpoint, group.name, part[1], { text: time(part[2]), value: part[2] }])));
  const makeTable = () => table(['endpoint', 'requests', 'part', 'mean'], rows);
  section('Where the time went', 'means along the critical path, in groups of requests by latency', (body) => {
    for (const of of run.time.slice(0, 12)) {
      const said = of.groups.map((it) => `${it.name} ${time(it.mean_ns)}`).join(', ');
      const picture = svg('svg', { role: 'img', 'aria-label': `${of.endpoint}: ${said}` });
      const box = el('div', { class: 'plot' }, el('h3', null, of.endpoint), picture);
      body.append(box);
      view.drawn.push(() => drawTime(box, picture, of));
    }
    return false;
  }, makeTable);
}

function drawTime(box, picture, of) {
  const width = Math.floor(box.clientWidth);
  if (!width) return;
  const isNarrow = width < 620;
  const frame = { svg: picture, width, left: isNarrow ? 2 : 96, right: width - 74 };
  picture.replaceChildren();
  const x = linear(0, most(of.groups.map((it) => it.mean_ns)) || 1, frame.left, frame.right);
  let y = 2;
  for (const group of of.groups) {
    if (isNarrow) { text(frame, 0, y + 11, group.name, 'mut'); y += 15; } else text(frame, 0, y + 12, group.name, 'ink', `${count(group.requests)} requests`);
    let at = 0;
    for (const [kind, words, ns] of group.parts) {
      const [from, to] = [x(at), x(at + ns)];
      picture.append(svg('rect', { x: from, y, width: Math.max(to - from, 0.4), height: 15, class: 'bit ' + kind }, svg('title', null, `${words}: ${time(ns)}`)));
      at += ns;
    }
    text(frame, x(at) + 6, y + 12, time(group.mean_ns), 'mut');
    const named = group.parts.slice(0, 3).map(([, words, ns]) => `${Math.round((ns / (group.mean_ns || 1)) * 100)} % ${words}`).join(', ');
    text(frame, frame.left, y + 29, short(named, Math.floor((width - frame.left) / 6.2)), 'mut', named);
    y += 38;
  }
  picture.setAttribute('viewBox', `0 0 ${width} ${y}`);
  picture.setAttribute('height', y);
}

/** Where a bin begins, in nanoseconds. */
const binBegin = (bin) => 10 ** (bin / 20);

/** A time below its place on an axis, within the picture. */
function timeBelow(frame, x, y, ns) {
  // A text is wider than `wide` says by up to a fifth.
  const [words, half] = [time(ns), wide(time(ns)) * 0.6];
  if (x < half) text(frame, 0, y, words);
  else if (x > frame.width - half) text(frame, frame.width, y, words, 'end');
  else text(frame, x, y, words, 'mid');
}

/** Columns on a logarithmic scale, and the percentiles below them. */
function drawBins(box, picture, requests, from, to) {
  const width = Math.floor(box.clientWidth);
  if (!width) return;
  const frame = { svg: picture, width, left: 14, right: width - 14 };
  const [top, tall] = [8, 104];
  picture.replaceChildren();
  const bins = requests.latency_bins;
  const x = logarithmic(from, to, frame.left, frame.right);
  const largest = most(bins.map((it) => it[1]));
  for (const [bin, n] of bins) {
    // What is not none is to be seen.
    const height = Math.max(1.5, (n / largest) * tall);
    const [left, right] = [x(binBegin(bin)), x(binBegin(bin + 1))];
    picture.append(svg('rect', { class: 'done', x: left.toFixed(1), y: (top + tall - height).toFixed(1), width: Math.max(1, right - left - 0.5).toFixed(1), height: height.toFixed(1) },
      svg('title', null, `${count(n)} from ${time(binBegin(bin))} to ${time(binBegin(bin + 1))}`)));
  }
  rule(frame, frame.left, top + tall, frame.right, top + tall, 'axis');
  const marks = decades(from, to).filter((value) => /^1(e|0*$)/.test(String(value)) || to / from < 50);
  for (const value of marks) {
    rule(frame, x(value), top + tall, x(value), top + tall + 4, 'axis');
    timeBelow(frame, x(value), top + tall + 17, value);
  }
  // Each on a line of its own where it would meet the one before.
  const it = requests.latency;
  const points = [...QUANTILES.filter((q) => !['p75', 'p95'].includes(q[0])).map(([name]) => [name, it[name + '_ns']]), ['max', it.max_ns]].filter((point) => point[1] !== null && point[1] !== undefined);
  const ends = [];
  let rows = 0;
  for (const [name, ns] of points) {
    const words = `${name} ${time(ns)}`;
    const isRight = x(ns) + 6 + wide(words) <= width;
    const [start, end] = isRight ? [x(ns), x(ns) + 6 + wide(words)] : [x(ns) - 6 - wide(words), x(ns)];
    let row = ends.findIndex((taken) => taken + 8 <= start);
    if (row < 0) row = ends.length;
    ends[row] = end;
    rows = Math.max(rows, row + 1);
    const y = top + tall + 36 + row * 15;
    rule(frame, x(ns), top, x(ns), y - 2, 'mark');
    text(frame, isRight ? x(ns) + 4 : x(ns) - 4, y, words, 'ink label' + (isRight ? '' : ' end'));
  }
  const height = top + tall + 30 + rows * 15;
  picture.setAttribute('viewBox', `0 0 ${width} ${height}`);
  picture.setAttribute('height', height);
}

function drawQuantiles(box, picture, it, from, to) {
  const width = Math.floor(box.clientWidth);
  if (!width) return;
  const frame = { svg: picture, width, left: 42, right: width - 44 };
  const [top, tall] = [14, 132];
  picture.replaceChildren();
  const x = logarithmic(from, to, frame.left, frame.right);
  const y = logarithmic(1, 10000, top, top + tall);
  for (const [share, words] of [[0.5, '50 %'], [0.1, '10 %'], [0.01, '1 %'], [0.001, '0.1 %']]) {
    rule(frame, frame.left, y(1 / share), frame.right, y(1 / share), 'grid');
    text(frame, frame.left - 6, y(1 / share) + 4, words, 'end');
  }
  const marks = decades(from, to).filter((value) => /^1(e|0*$)/.test(String(value)) || to / from < 50);
  rule(frame, frame.left, top + tall, frame.right, top + tall, 'axis');
  for (const value of marks) {
    rule(frame, x(value), top + tall, x(value), top + tall + 4, 'axis');
    timeBelow(frame, x(value), top + tall + 17, value);
  }
  const points = QUANTILES.map(([name, share]) => [name, it[name + '_ns'], 1 / share]).filter((point) => point[1] !== null);
  if (it.max_ns !== null && it.count > 1) points.push(['max', it.max_ns, Math.min(it.count, 10000)]);
  frame.svg.append(svg('path', { class: 'line p90', d: 'M' + points.map(([, ns, beyond]) => `${x(ns).toFixed(1)} ${y(beyond).toFixed(1)}`).join('L') }));
  for (const [name, ns, beyond] of points) {
    frame.svg.append(svg('circle', { cx: x(ns), cy: y(beyond), r: 3, class: 'decided' }, svg('title', null, `${name} ${time(ns)}`)));
    if (['p50', 'p90', 'p99', 'p99.9', 'max'].includes(name)) {
      const words = `${name} ${time(ns)}`;
      const isRight = x(ns) + 8 + wide(words) < width;
      text(frame, isRight ? x(ns) + 8 : x(ns) - 8, y(beyond) + (name === 'p50' ? -4 : 4), words, 'ink label' + (isRight ? '' : ' end'));
    }
  }
  picture.setAttribute('viewBox', `0 0 ${width} ${top + tall + 24}`);
  picture.setAttribute('height', top + tall + 24);
}

// Who calls whom.

function whoCallsWhom(run) {
  if (!callsIn(run, null).length) return;
  const range = () => {
    if (!run.course) return null;
    if (view.extent[0] > view.whole[0] || view.extent[1] < view.whole[1]) return view.range;
    return worstOf(run.course, linesOf(run.course, 'load')) || view.range;
  };
  const makeTable = () => table(['from', 'to', 'calls', 'a second', 'failed', 'share'], callsIn(run, range()).map((it) => [it.fromName, it.toName,
    { text: count(it.offered), value: it.offered }, { text: figure(it.rate), value: it.rate },
    { text: count(it.failed), value: it.failed }, { text: percent(it.share), value: it.share }]));
  const made = section('Who calls whom', '', (body) => {
    const box = el('div', { class: 'plot' });
    const picture = svg('svg', { role: 'img', 'aria-label': 'Services and who calls whom; the table has the figures' });
    box.append(picture);
    body.append(box);
    view.drawn.push(() => {
      const windows = range();
      const shown = windows ? between(run.course.edges_s[windows[0]], run.course.edges_s[windows[1]]) : 'the whole run';
      const isWorst = windows && view.extent[0] === view.whole[0] && view.extent[1] === view.whole[1] && windows[1] - windows[0] < view.windows;
      body.parentNode.querySelector('.why').textContent = `${shown}${isWorst ? ', where most failed' : ''}; width: rate, red: share that failed`;
      drawGraph(box, picture, run, callsIn(run, windows), windows);
    });
    return false;
  }, makeTable);
  return made;
}

// Operations and their closed forms.

function operations(run) {
  if (!run.forms.length) return;
  const makeTable = () => table(['operation', 'step', 'at', 'decided', 'closed form', 'apart'], run.forms.flatMap((form) => {
    const steps = Math.max(form.decided.length, form.closed.length);
    return Array.from({ length: steps }, (_, i) => {
      const [decided, closed] = [form.decided[i], form.closed[i]];
      const value = (it) => ({ text: figure(it ?? null), value: it ?? '' });
      return [`${form.value} of ${form.service}`, { text: String(i + 1), value: i + 1 }, value((decided || closed)[0]), value(decided?.[1]), value(closed?.[1]),
        value(decided && closed ? decided[1] - closed[1] : null)];
    });
  }));
  section('Do the operations do what their formulas say?', 'line: closed form; dots: decided by the coordinator, in whole instances', (body) => {
    const grid = el('div', { class: 'grid2' });
    for (const form of run.forms) {
      const last = form.decided[form.decided.length - 1];
      const end = last ? `${figure(last[1])} at ${seconds(last[0])}` : 'no step';
      const left = form.residual === null ? form.outcome : `residual ${figure(form.residual)}`;
      const box = el('div', { class: 'plot' }, el('h3', null, `${form.value} of ${form.service}`), el('p', { class: 'why' }, `${form.rule}; ${end}, ${left}`));
      const picture = svg('svg', { role: 'img', 'aria-label': `${form.value} of ${form.service}: ${end}, ${left}` });
      box.append(picture);
      grid.append(box);
      view.drawn.push(() => drawForm(box, picture, form));
    }
    body.append(grid);
    return false;
  }, makeTable);
}

function drawForm(box, picture, form) {
  const width = Math.floor(box.clientWidth);
  if (!width) return;
  picture.replaceChildren();
  const times = [...form.closed, ...form.decided].map((it) => it[0]);
  if (!times.length) return;
  const [first, last] = [times.reduce((a, b) => Math.min(a, b)), most(times)];
  const margin = Math.max((last - first) * 0.15, 1e-3);
  const frame = { svg: picture, width, left: 40, right: width - 10, view: { extent: [first - margin, last + margin] } };
  frame.x = linear(first - margin, last + margin, frame.left, frame.right);
  const values = [form.before, form.to, ...form.closed.map((it) => it[1]), ...form.decided.map((it) => it[1])];
  let [low, high] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
  if (high === low) high = low + 1;
  const [top, tall] = [8, 110];
  const y = linear(low, high, top + tall - 6, top + 6);
  for (const value of ticks(low, high, 4)) {
    rule(frame, frame.left, y(value), frame.right, y(value), 'grid');
    text(frame, frame.left - 6, y(value) + 4, figure(value), 'end');
  }
  let path = `M${frame.left} ${y(form.before)}`;
  for (const [at_, value] of form.closed) path += `H${frame.x(at_).toFixed(1)}V${y(value).toFixed(1)}`;
  picture.append(svg('path', { d: path + `H${frame.right}`, class: 'closed' }));
  for (const [at_, value] of form.decided) {
    picture.append(svg('circle', { cx: frame.x(at_), cy: y(value), r: 3.5, class: 'decided' }, svg('title', null, `${figure(value)} at ${seconds(at_)}`)));
  }
  const bottom = timeAxis(frame, top + tall);
  picture.setAttribute('viewBox', `0 0 ${width} ${bottom}`);
  picture.setAttribute('height', bottom);
}

// Several runs.

function beside() {
  if (runs.length < 2) return;
  const rows = runs.map((run) => {
    const all = run.summary.loads.map((it) => it.requests);
    const [offered, failed] = [sum(all.map((it) => it.offered)), sum(all.map((it) => it.failed))];
    const only = all.length === 1 ? all[0].latency : null;
    const verdict = run.summary.outcome.toUpperCase();
    return [run.label, String(run.summary.seed), { text: verdict, value: verdict }, { text: count(offered), value: offered },
      { text: count(failed), value: failed }, { text: percent(offered ? failed / offered : null), value: offered ? failed / offered : '' },
      ...['p50_ns', 'p90_ns', 'p99_ns', 'max_ns'].map((name) => ({ text: time(only?.[name] ?? null), value: only?.[name] ?? '' })),
      run.differs.length ? run.differs.slice(0, 3).join('; ') + (run.differs.length > 3 ? `; and ${run.differs.length - 3} more` : '') : 'nothing'];
  });
  const heads = ['run', 'seed', 'SLOs', 'offered', 'failed', 'share', 'p50', 'p90', 'p99', 'max', 'its file differs from the first in'];
  const seeds = new Set(runs.map((run) => run.summary.seed));
  const why = `what differs, then each course on the same scales; ${seeds.size === 1 ? 'one seed each: no interval' : 'the seeds differ'}`;
  const made = section('Beside each other', why, (body, readout) => {
    const full = el('div', { class: 'scroll' }, table(heads, rows));
    body.append(full);
    const drawn = runs.filter((run) => run.course && linesOf(run.course, 'load').length);
    if (!drawn.length || runs.length > 8) return false;
    const edges = drawn.map((run) => run.course.edges_s).reduce((a, b) => (b[b.length - 1] > a[a.length - 1] ? b : a));
    const shared = new View(edges);
    const rateOf = (run, name) => linesOf(run.course, 'load').reduce((all, one) => edges.slice(0, -1).map((_, i) => (all[i] || 0) + number(one, name, i) / length(run.course)), []);
    const top = most(drawn.map((run) => most(rateOf(run, 'offered')))) || 1;
    for (const run of drawn) {
      const box = timePlot(shared, `${run.label}: requests and p90`, (frame) => {
        // Below the name, which may be long, and not beside it.
        const y = 16 + panelName(frame, 6, run.label, run.summary.outcome.toUpperCase());
        columns(frame, y, 44, top, [[rateOf(run, 'done'), 'done'], [rateOf(run, 'failed'), 'failed']]);
        text(frame, frame.left - 8, y + 8, figure(top) + '/s', 'end');
        const loads = linesOf(run.course, 'load');
        const [from, to] = latencyRange(run, []);
        const scale = logarithmic(from, to, y + 116, y + 58);
        for (const value of [from, to]) text(frame, frame.left - 8, scale(value) + 4, time(value), 'end');
        rule(frame, frame.left, scale(from), frame.right, scale(from), 'grid');
        rule(frame, frame.left, scale(to), frame.right, scale(to), 'grid');
        line(frame, scale, column(loads[0], 'p50_ns'), 'p50', null);
        line(frame, scale, column(loads[0], 'p90_ns'), 'p99', null);
        endLabels(frame, [[y + 8, `failed ${count(sum(loads.map((one) => total(one, 'failed'))))}`, 'badt'], [y + 84, `${short(loads[0].name, 10)} p90, p50`, '']]);
        shades(frame, 0, y + 118, run.lanes.bars);
        return timeAxis(frame, y + 120);
      }, null);
      box.addEventListener('keydown', (event) => { if (timeKey(shared, event)) { event.preventDefault(); event.stopPropagation(); } });
      body.append(box);
    }
    shared.pointed.push((i) => {
      readout.textContent = i === null ? '' : drawn.filter((it) => i < it.course.edges_s.length - 1).map((it) => `${it.label}: ${sayOf(it, i)}`).join('   ');
    });
    view.drawn.push(() => shared.redraw());
    return true;
  }, null);
  return made;
}

function sayOf(run, i) {
  return linesOf(run.course, 'load').map((one) => `${count(number(one, 'offered', i))} due, ${count(number(one, 'failed', i))} failed, p90 ${time(at(one, 'p90_ns', i))}`).join('; ');
}

// The page.

function bar() {
  const header = document.getElementById('bar');
  if (runs.length > 1) {
    header.append(el('div', { class: 'runs', role: 'group', 'aria-label': 'Run' }, runs.map((run, index) => el('button', {
      type: 'button', 'data-index': index, 'aria-pressed': String(index === current), click: () => show(index, true),
    }, short(run.label, 24)))));
  }
  const themes = el('div', { role: 'group', 'aria-label': 'Colours' }, ['auto', 'light', 'dark'].map((name) => el('button', {
    type: 'button', 'data-name': name, click: () => { remember({ theme: name === 'auto' ? null : name }); theme(); },
  }, name)));
  header.append(themes, el('button', { type: 'button', click: help }, 'Keys'));
}

function theme() {
  const wanted = ['light', 'dark'].includes(asked.get('theme')) ? asked.get('theme') : null;
  if (wanted) document.documentElement.dataset.theme = wanted;
  else delete document.documentElement.dataset.theme;
  document.querySelectorAll('[data-name]').forEach((button) => button.setAttribute('aria-pressed', String(button.dataset.name === (wanted || 'auto'))));
  if (view) view.redraw();
}

function help() {
  const keys = [['← →', 'one window; with Shift ten'], ['+ -', 'zoom'], ['0', 'all of the run'], ['[ ]', 'last or next operation, fault or failure'], ['drag', 'zoom to an extent'], ['Ctrl wheel', 'zoom at the pointer'], ['t', 'all figures as tables, or as plots again'], ['?', 'this list']];
  const box = el('dialog', { 'aria-label': 'Keys', close: () => box.remove() }, table(['key', 'what it does'], keys),
    el('form', { method: 'dialog' }, el('p', null, el('button', null, 'Close'))));
  document.body.append(box);
  box.showModal();
}

/** The next moment at which something happened, from the cursor on, or before it. */
function jump(run, isForward) {
  const here = view.cursor ?? (isForward ? -1 : view.windows);
  const moments = run.lanes.bars.flatMap((it) => [it.from_s, it.to_s]).filter((it) => it < view.whole[1]).map((it) => {
    let i = 0;
    while (i < view.windows - 1 && view.edges[i + 1] <= it) i++;
    return i;
  });
  for (let i = 0; i < view.windows; i++) {
    const failed = (window) => sum(linesOf(run.course, 'load').map((one) => number(one, 'failed', window)));
    if (failed(i) && (i === 0 || !failed(i - 1))) moments.push(i);
  }
  const sorted = [...new Set(moments)].sort((a, b) => a - b);
  const next = isForward ? sorted.find((it) => it > here) : sorted.reverse().find((it) => it < here);
  if (next !== undefined) view.point(next);
}

function show(index, isNew) {
  current = index;
  if (isNew) remember({ run: index || null, t: null, of: null }, true);
  document.querySelectorAll('#bar [data-index]').forEach((button) => button.setAttribute('aria-pressed', String(Number(button.dataset.index) === index)));
  document.querySelectorAll('main > [data-run]').forEach((part) => { part.hidden = Number(part.dataset.run) !== index; });
  figures.replaceChildren();
  opened = [];
  const run = runs[index];
  view = new View(run.course && run.course.edges_s.length > 1 ? run.course.edges_s : [0, run.summary.reached_s || 1]);
  view.changed = () => {
    const isAll = view.extent[0] === view.whole[0] && view.extent[1] === view.whole[1];
    remember({ t: isAll ? null : `${view.extent[0]}..${view.extent[1]}` }, true);
  };
  beside();
  if (run.course && run.course.edges_s.length > 1) {
    theCourse(run);
    whereItFailed(run);
    howFull(run);
  }
  latency(run);
  whereTheTimeWent(run);
  whoCallsWhom(run);
  operations(run);
  const [from, to] = (asked.get('t') || '').split('..').map(Number);
  if (to > from) view.zoom(from, to, true);
  else view.redraw();
  if (asked.get('tables')) opened.forEach((open) => open(true));
}

/** All figures as tables, or as plots again. */
function tables() {
  const isOpen = !asked.get('tables');
  remember({ tables: isOpen ? 1 : null });
  opened.forEach((open) => open(isOpen));
}

document.addEventListener('keydown', (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest('input, select, textarea, dialog')) return;
  if (event.key === '?') help();
  else if (event.key === 't') tables();
  else if (event.key === '[' || event.key === ']') { if (runs[current].course) jump(runs[current], event.key === ']'); }
  else if (event.key.startsWith('Arrow') && !event.target.closest('.plot') && event.target !== document.body) return;
  else if (!timeKey(view, event)) return;
  event.preventDefault();
});
addEventListener('popstate', () => {
  for (const name of [...asked.keys()]) asked.delete(name);
  new URLSearchParams(location.hash.slice(1)).forEach((value, name) => asked.set(name, value));
  theme();
  show(Math.min(Math.max(Number(asked.get('run')) || 0, 0), runs.length - 1), false);
});
let pending = 0;
let lastWidth = 0;
new ResizeObserver(() => {
  if (figures.clientWidth === lastWidth) return;
  lastWidth = figures.clientWidth;
  cancelAnimationFrame(pending);
  pending = requestAnimationFrame(() => view.redraw());
}).observe(figures);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => view.redraw());
addEventListener('beforeprint', () => document.querySelectorAll('details').forEach((it) => { it.open = true; }));
document.querySelectorAll('section[data-run] table').forEach(sortable);
document.querySelectorAll('.tables details').forEach((it) => {
  it.append(el('p', { class: 'tools' }, el('button', { type: 'button', click: () => save(it.querySelector('table').dataset.table + '.csv', csv(it.querySelector('table'))) }, 'CSV')));
});
if (runs.length) {
  bar();
  theme();
  show(current, false);
}
