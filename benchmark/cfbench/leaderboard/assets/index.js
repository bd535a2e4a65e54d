const VALUE = "value:";
const AT_FIRST = 100;
const NAMED = 12;
const OPTIONAL = [
  ["interval", "Intervals"], ["team", "Team"], ["eer", "Spoof detection (EER)"],
  ["tasks", "VQ, AUX, DEC"], ["data", "Training data"], ["parameters", "Parameters"],
  ["date", "Date"], ["status", "Status"],
];
const DEFAULTS = {
  track: DATA.boards[0].track, task: "overall", split: "all", q: "", sort: "", data: "",
  status: "", lines: "1", columns: "interval,team,eer,data,status", pick: "",
};
const STATUS = ["verified", "claimed", "computed"];
const BY = [
  "the first of its tier",
  "not told apart from the first of its tier by a paired bootstrap",
  "not told apart from the first of its tier: intervals overlap, predictions not at hand",
];
const at = (id) => document.getElementById(id);
let state = readHash(DEFAULTS);
let columns = [];

function board() {
  return DATA.boards.find((one) => one.track === state.track) || DATA.boards[0];
}

function table() {
  const known = board().tables.some((one) => one.id === state.task);
  return rowsOf(board(), known ? state.task : "overall");
}

// The split whose places are shown, and by which the table is ordered.
function leading() {
  const index = board().splits.indexOf(state.split);
  return index < 0 ? board().splits.length - 1 : index;
}

function shownSplits() {
  const index = board().splits.indexOf(state.split);
  return index < 0 ? board().splits.map((_, i) => i).reverse() : [index];
}

function picked() {
  const slugs = new Set(board().systems.map((one) => one[0]));
  return state.pick.split(",").filter((slug) => slug && slugs.has(slug));
}

function has(column) {
  return state.columns.split(",").includes(column);
}

function makeColumns() {
  const shown = table(), lead = leading(), names = board().names;
  const found = [{ id: "pick", title: "Compare", plain: true }];
  found.push({ id: "place", title: "Place", kind: "place", key: (row) => row.cells[lead].place ?? null, up: true });
  found.push({ id: "name", title: "System", kind: "name", key: (row) => row.name.toLowerCase(), up: true });
  if (has("team")) {
    found.push({ id: "team", title: "Team", kind: "team", up: true,
      key: (row) => (row.team ? row.team.toLowerCase() : null) });
  }
  const add = (id, source, split, title) => found.push({
    id, title, kind: "value", up: !source.higher, split,
    cell: (row) => (source === shown ? row.cells[split] : source.bySystem.get(row.system)?.[split] || ABSENT),
    key(row) { return this.cell(row).exact ?? null; },
  });
  for (const split of shownSplits()) {
    add(VALUE + board().splits[split], shown, split, names[split]);
  }
  if (shown.id === "overall") {
    if (has("eer") && board().tables.some((one) => one.id === "bin")) {
      for (const split of shownSplits()) {
        add(`eer:${board().splits[split]}`, rowsOf(board(), "bin"), split, `EER, ${names[split].toLowerCase()}`);
      }
    }
    for (const id of has("tasks") ? ["vq", "aux", "dec"] : []) {
      if (board().tables.some((one) => one.id === id)) {
        add(`task:${id}`, rowsOf(board(), id), lead, `${id.toUpperCase()}, ${names[lead].toLowerCase()}`);
      }
    }
  }
  if (has("data")) found.push({ id: "data", title: "Training data", key: (row) => row.data || null, up: true });
  if (has("parameters")) found.push({ id: "parameters", title: "Parameters", kind: "num", key: (row) => row.parameters, up: true });
  if (has("date")) found.push({ id: "date", title: "Date", key: (row) => row.date || null, up: false });
  if (has("status")) found.push({ id: "status", title: "Status", key: (row) => (row.state === 2 ? null : row.state), up: true });
  for (const column of found) {
    if (column.kind !== "value") continue;
    // The bar of an interval runs from the lowest to the highest value of its column.
    let low = Infinity, high = -Infinity;
    for (const row of shown.byRow) {
      const cell = column.cell(row);
      if (cell.low === undefined) continue;
      low = Math.min(low, cell.low);
      high = Math.max(high, cell.high);
    }
    column.scale = high > low ? (x) => (100 * (x - low)) / (high - low) : null;
  }
  return found;
}

function allRows() {
  return table().byRow.map(({ system, cells }) => {
    const [slug, name, team, kind, status, only, parameters, date] = board().systems[system];
    const data = kind === 2 ? "" : only ? "track only" : "other too";
    return { system, cells, slug, name, team, kind, state: status, only, data, parameters, date };
  });
}

function sorting() {
  const [id, way] = state.sort.split(".");
  const column = columns.find((one) => one.id === id && !one.plain);
  if (column) return { column, up: way === "up", given: true };
  const lead = columns.find((one) => one.id === VALUE + board().splits[leading()]);
  return { column: lead, up: lead.up, given: false };
}

function chosenRows() {
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const { column, up } = sorting();
  const kept = allRows().filter((row) => {
    if (state.lines !== "1" && row.kind !== 0) return false;
    if (state.data && (row.kind === 2 || (state.data === "track") !== (row.only === 1))) return false;
    if (state.status && STATUS[row.state] !== state.status) return false;
    const text = `${row.name}\n${row.team}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const keyed = kept.map((row) => [column.key(row), row]);
  keyed.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const order = typeof a === "string" ? a.localeCompare(b) : a - b;
    return up ? order : -order;
  });
  return keyed.map(([, row]) => row);
}

function drawHead() {
  const sorted = sorting();
  const cells = columns.map((column) => {
    const way = sorted.column === column ? (sorted.up ? "ascending" : "descending") : "none";
    const numeric = ["value", "num", "place"].includes(column.kind) ? "num" : "";
    if (column.plain) {
      return make("th", { scope: "col", class: "pick plain" }, make("span", { class: "vh" }, column.title));
    }
    const button = make("button", { type: "button" }, column.title);
    button.addEventListener("click", () => sortBy(column.id));
    return make("th", { scope: "col", class: numeric || column.kind || null, "aria-sort": way, "data-column": column.id }, button);
  });
  at("head").replaceChildren(...cells);
}

function sortBy(id) {
  const { column, up } = sorting();
  const next = columns.find((one) => one.id === id);
  const ascending = column.id === id ? !up : next.up;
  const fresh = id === VALUE + board().splits[leading()] && ascending === next.up;
  state.sort = fresh ? "" : `${id}.${ascending ? "up" : "down"}`;
  changed(false);
  for (const th of at("head").children) {
    const now = sorting();
    if (th.dataset.column) {
      const way = th.dataset.column === now.column.id ? (now.up ? "ascending" : "descending") : "none";
      th.setAttribute("aria-sort", way);
    }
  }
}

function drawCell(column, row, chosen) {
  if (column.id === "pick") {
    if (!row.slug) return make("td", { class: "pick" });
    const box = make("input", { type: "checkbox", "aria-label": `Compare ${row.name}`, "data-slug": row.slug });
    box.checked = chosen.includes(row.slug);
    return make("td", { class: "pick" }, make("label", {}, box));
  }
  if (column.kind === "place") {
    const { place, by } = row.cells[leading()];
    if (place === undefined || place === null) {
      return make("td", { class: "place", title: "no place" }, make("span", { class: "soft" }, "–"));
    }
    return make("td", { class: "place", title: `Place ${place}: ${BY[by]}` }, `${place}${by === 2 ? "*" : ""}`);
  }
  if (column.kind === "name") {
    const name = row.slug ? make("a", { href: `systems/${row.slug}.html` }, row.name) : row.name;
    // The team has no column of its own on a narrow screen.
    const team = row.team && has("team") ? make("small", { class: "under" }, row.team) : "";
    return make("th", { scope: "row", class: "name" }, name, team);
  }
  if (column.kind === "team") return make("td", { class: "team" }, row.team);
  if (column.kind === "value") {
    const cell = column.cell(row);
    if (cell.value === null) {
      return make("td", { class: "num", title: cell.reason }, make("span", { class: "soft" }, "n/a"));
    }
    const td = make("td", { class: "num value" }, percent(cell.value));
    if (cell.low !== undefined && has("interval")) {
      td.append(" ", make("small", {}, interval(cell)));
      if (column.scale) drawBar(td, column, cell);
    }
    return td;
  }
  if (column.id === "data") return make("td", { class: "nowrap" }, row.data);
  if (column.id === "parameters") return make("td", { class: "num" }, counted(row.parameters));
  if (column.id === "date") return make("td", { class: "nowrap" }, row.date || "");
  if (row.kind === 2) return make("td", { class: "soft" }, "computed");
  const status = STATUS[row.state];
  const mark = make("span", { class: `mark ${status}` }, status);
  return make("td", {}, mark, row.kind === 1 ? " reference" : "");
}

function drawBar(td, column, cell) {
  const [low, high, value] = [cell.low, cell.high, cell.value].map(column.scale);
  const width = Math.max(high - low, 1.5);
  // Two backgrounds: the value's tick before the interval's bar. No elements of their own, since
  // a thousand rows have four thousand of them.
  td.classList.add("barred");
  const tick = "linear-gradient(var(--point), var(--point))";
  const bar = "linear-gradient(var(--interval), var(--interval))";
  td.style.backgroundImage = `${tick}, ${bar}`;
  td.style.backgroundSize = `2px 7px, ${width.toFixed(2)}% 5px`;
  const from = Math.min(100, (100 * low) / Math.max(100 - width, 0.01));
  // Below the value and its interval, however high the row is.
  const under = "calc(2.5em + 2px)";
  td.style.backgroundPosition = `left ${value.toFixed(2)}% top ${under}, left ${from.toFixed(2)}% top calc(${under} + 1px)`;
}

function counted(count) {
  if (count === null || count === undefined) return "";
  for (const [size, unit] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]]) {
    if (count >= size) return `${(count / size).toPrecision(3)} ${unit}`;
  }
  return String(count);
}

function drawRows() {
  const rows = chosenRows(), chosen = picked(), lead = leading();
  const { column, up } = sorting();
  // Tiers stand together only in the order of the places.
  const ranked = column.id === "place" || (column.id === VALUE + board().splits[lead] && up === column.up);
  let tier = null, band = false;
  const draw = (row) => {
    const place = row.cells[lead].place ?? null;
    const classes = row.kind === 0 ? [] : ["line", row.kind === 2 ? "trivial" : "reference"];
    if (ranked && place !== null && place !== tier) {
      if (tier !== null) {
        classes.push("tier");
        band = !band;
      }
      tier = place;
    }
    if (ranked && band && place !== null) classes.push("band");
    const tr = make("tr", { class: classes.join(" ") || null });
    for (const one of columns) tr.append(drawCell(one, row, chosen));
    return tr;
  };
  const first = rows.slice(0, AT_FIRST).map(draw);
  if (!first.length) {
    first.push(make("tr", {}, make("td", { colspan: columns.length, class: "soft" }, "No system is like that.")));
  }
  at("rows").replaceChildren(...first);
  // What is not on the screen yet comes when that has been shown.
  cancelAnimationFrame(drawRows.frame);
  clearTimeout(drawRows.later);
  if (rows.length > AT_FIRST) {
    drawRows.frame = requestAnimationFrame(() => {
      drawRows.later = setTimeout(() => at("rows").append(...rows.slice(AT_FIRST).map(draw)), 0);
    });
  }
  const systems = rows.filter((row) => row.kind !== 2).length;
  const all = allRows().filter((row) => row.kind !== 2).length;
  at("found").textContent = `${systems.toLocaleString("en")} of ${all.toLocaleString("en")} systems`;
  return rows;
}

function drawBasket() {
  const chosen = picked();
  const names = chosen.map((slug) => board().systems.find((one) => one[0] === slug)[1]);
  at("basket").hidden = !chosen.length;
  if (!chosen.length) return;
  at("basket-names").textContent = names.length === 2 ? `${names[0]} and ${names[1]}` : `${names[0]}; pick one more`;
  const to = new URLSearchParams({ track: board().track });
  chosen.forEach((slug, index) => to.set("ab"[index], slug));
  at("basket-link").setAttribute("href", `compare.html#${to}`);
}

function drawPlot(rows) {
  const { splits, names } = board();
  at("plot").hidden = splits.length < 2;
  if (splits.length < 2) return;
  const x = 0, y = splits.length - 1, title = table().metric;
  const points = rows.filter((row) => row.cells[x].value !== null && row.cells[y].value !== null);
  const ends = points.flatMap(({ cells }) => [x, y].flatMap((s) => [cells[s].low ?? cells[s].value, cells[s].high ?? cells[s].value]));
  const low = Math.max(0, Math.floor((Math.min(...ends, 100) - 1) / 10) * 10);
  const high = Math.max(low + 10, Math.min(100, Math.ceil((Math.max(...ends, 0) + 1) / 10) * 10));
  const width = Math.max(260, Math.min(640, at("drawing").clientWidth));
  const left = 48, top = 22, size = Math.min(width - left - 8, 480), right = left + size, bottom = top + size;
  const px = (value) => left + (size * (value - low)) / (high - low);
  const py = (value) => bottom - (size * (value - low)) / (high - low);
  const svg = make("svg:svg", { viewBox: `0 0 ${width} ${bottom + 44}`, role: "group", "aria-labelledby": "plot-title" });
  const step = high - low > 50 ? 20 : high - low > 20 ? 10 : 5;
  for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) {
    svg.append(
      make("svg:line", { class: "grid", x1: px(tick), x2: px(tick), y1: top, y2: bottom }),
      make("svg:line", { class: "grid", x1: left, x2: right, y1: py(tick), y2: py(tick) }),
      make("svg:text", { class: "tick", x: px(tick), y: bottom + 17, "text-anchor": "middle" }, String(tick)),
      make("svg:text", { class: "tick", x: left - 8, y: py(tick) + 4, "text-anchor": "end" }, String(tick)),
    );
  }
  svg.append(
    make("svg:line", { class: "diagonal", x1: px(low), y1: py(low), x2: px(high), y2: py(high) }),
    make("svg:text", { class: "tick", x: right, y: top - 7, "text-anchor": "end" }, "diagonal: as good in both"),
    make("svg:rect", { class: "axis", x: left, y: top, width: size, height: size }),
    make("svg:text", { x: left + size / 2, y: bottom + 38, "text-anchor": "middle" }, `${names[x]}: ${title} (%)`),
    make("svg:text", { x: 0, y: 0, "text-anchor": "middle", transform: `translate(12 ${top + size / 2}) rotate(-90)` }, `${names[y]}: ${title} (%)`),
  );
  const told = make("svg:text", { class: "told", "aria-hidden": "true" });
  const group = make("svg:g", { class: points.length > 60 ? "faint" : null });
  const links = [];
  for (const row of points) {
    const [a, b] = [row.cells[x], row.cells[y]];
    const cx = px(a.value), cy = py(b.value);
    if (row.kind === 2) {
      // From each axis to where the two values meet; the name is on that side of the diagonal on
      // which few systems are.
      const long = 6.3 * row.name.length;
      svg.append(
        make("svg:path", { class: "trivial", d: `M${left} ${cy}H${cx}V${bottom}` }),
        make("svg:text", { class: "trivial-name", x: table().higher ? Math.max(left + 4, cx - 6 - long) : Math.min(cx + 7, right - long), y: cy - 5 }, row.name),
      );
      continue;
    }
    const said = `${row.name}: ${names[x].toLowerCase()} ${percent(a.value)} ${interval(a)}, ${names[y].toLowerCase()} ${percent(b.value)} ${interval(b)}`;
    const link = make("svg:a", { href: `systems/${row.slug}.html`, "aria-label": said, tabindex: "-1", class: row.kind === 1 ? "reference" : null });
    if (a.low !== undefined) link.append(make("svg:line", { class: "cross", x1: px(a.low), x2: px(a.high), y1: cy, y2: cy }));
    if (b.low !== undefined) link.append(make("svg:line", { class: "cross", x1: cx, x2: cx, y1: py(b.low), y2: py(b.high) }));
    link.append(
      make("svg:circle", { class: "ring", cx, cy, r: 9 }),
      make("svg:circle", { class: "dot", cx, cy, r: points.length > 200 ? 3.5 : 5 }),
    );
    const show = () => {
      told.textContent = `${row.name.length > 40 ? `${row.name.slice(0, 39)}…` : row.name}: ${percent(a.value)}, ${percent(b.value)}`;
      const before = cx > left + size / 2;
      told.setAttribute("x", before ? cx - 10 : cx + 10);
      told.setAttribute("y", Math.max(cy - 10, top + 12));
      told.setAttribute("text-anchor", before ? "end" : "start");
    };
    const hide = () => { told.textContent = ""; };
    for (const name of ["mouseenter", "focus"]) link.addEventListener(name, show);
    for (const name of ["mouseleave", "blur"]) link.addEventListener(name, hide);
    links.push(link);
    group.append(link);
  }
  // One stop for the Tab key; arrows go from point to point.
  if (links.length) links[0].setAttribute("tabindex", "0");
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const from = links.indexOf(document.activeElement);
    if (!step || from < 0) return;
    event.preventDefault();
    const to = links[(from + step + links.length) % links.length];
    links[from].setAttribute("tabindex", "-1");
    to.setAttribute("tabindex", "0");
    to.focus();
  });
  svg.append(group, told);
  at("drawing").replaceChildren(svg);
  if (links.length <= NAMED) drawNames(svg, points.filter((row) => row.kind !== 2), px, py, { left, top, right, bottom });
}

// The names of a few systems beside their points, where there is room.
function drawNames(svg, points, px, py, frame) {
  const boxOf = (element) => {
    const { x, y, width, height } = element.getBBox();
    return { x: x - 2, y: y - 2, right: x + width + 2, bottom: y + height + 2 };
  };
  const taken = [...svg.querySelectorAll(".dot, .trivial-name")].map(boxOf);
  const free = (box) => box.x > frame.left && box.right < frame.right && box.y > frame.top && box.bottom < frame.bottom
    && !taken.some((other) => box.x < other.right && other.x < box.right && box.y < other.bottom && other.y < box.bottom);
  const last = points[0]?.cells.length - 1;
  for (const row of points) {
    const cx = px(row.cells[0].value), cy = py(row.cells[last].value);
    const name = row.name.length > 40 ? `${row.name.slice(0, 39)}…` : row.name;
    const text = make("svg:text", { class: "label", "aria-hidden": "true" }, name);
    svg.insertBefore(text, svg.querySelector(".told"));
    const places = [[cx + 10, cy + 4, "start"], [cx - 10, cy + 4, "end"], [cx, cy - 11, "middle"], [cx, cy + 19, "middle"]];
    const found = places.some(([x, y, anchor]) => {
      for (const [key, value] of Object.entries({ x, y, "text-anchor": anchor })) text.setAttribute(key, value);
      return free(boxOf(text));
    });
    if (found) taken.push(boxOf(text));
    else text.remove();
  }
}

function drawTitles() {
  const one = board(), shown = table();
  at("board-title").textContent = one.title;
  at("board-facts").replaceChildren(...one.facts.map((text) => make("p", { class: "meta" }, text)));
  const arrow = shown.higher ? "higher is better" : "lower is better";
  at("ranking-caption").textContent = `${shown.title}: ${shown.metric} in %, ${arrow}; [low, high] is the 95 % interval. A strong line divides tiers; places are ${one.names[leading()].toLowerCase()}.`;
  at("plot-title").textContent = `${shown.title}: in domain against out of domain`;
  at("refused").hidden = !one.refused.length;
  at("refused-list").replaceChildren(...one.refused.map(([slug, why]) => make("li", {}, make("code", {}, slug), `: ${why}`)));
}

function segments(holder, name, pairs, chosen, pick) {
  holder.replaceChildren(...pairs.map(([value, text]) => {
    const input = make("input", { type: "radio", name, value });
    input.checked = value === chosen;
    input.addEventListener("change", () => pick(value));
    return make("label", {}, input, make("span", {}, text));
  }));
}

function drawControls() {
  const one = board();
  options(at("track"), DATA.boards.map((b) => [b.track, b.title]), one.track);
  segments(at("tasks"), "task", one.tables.map((t) => [t.id, t.id === "overall" ? "Overall" : t.id.toUpperCase()]), table().id, (value) => {
    state.task = value;
    state.sort = "";
    changed();
  });
  const splits = one.splits.map((split, i) => [split, one.names[i]]).reverse();
  const both = splits.length === 2 ? "Both" : "All";
  const chosen = one.splits.includes(state.split) ? state.split : "all";
  segments(at("splits"), "split", splits.length > 1 ? [["all", both], ...splits] : splits, chosen, (value) => {
    state.split = value;
    state.sort = "";
    changed();
  });
  for (const [id, value] of [["q", state.q], ["data-filter", state.data], ["status-filter", state.status]]) at(id).value = value;
  at("lines").checked = state.lines === "1";
  at("columns").replaceChildren(...OPTIONAL.map(([id, title]) => {
    const box = make("input", { type: "checkbox", value: id });
    box.checked = has(id);
    box.addEventListener("change", () => {
      const now = OPTIONAL.map(([other]) => other).filter((other) => (other === id ? box.checked : has(other)));
      state.columns = now.join(",");
      changed();
    });
    return make("label", {}, box, title);
  }));
}

function changed(head = true) {
  columns = makeColumns();
  writeHash(state, DEFAULTS);
  if (head) drawHead();
  const rows = drawRows();
  drawTitles();
  drawBasket();
  // The table first: the picture waits until it is on the screen.
  changed.rows = rows;
  plotSoon();
}

function plotSoon() {
  cancelAnimationFrame(plotSoon.frame);
  plotSoon.frame = requestAnimationFrame(() => drawPlot(changed.rows));
}

function start() {
  const listen = (id, event, then) => at(id).addEventListener(event, then);
  listen("track", "change", (event) => {
    state = { ...DEFAULTS, columns: state.columns, track: event.target.value };
    drawControls();
    changed();
  });
  listen("q", "input", (event) => { state.q = event.target.value; changed(false); });
  listen("data-filter", "change", (event) => { state.data = event.target.value; changed(false); });
  listen("status-filter", "change", (event) => { state.status = event.target.value; changed(false); });
  listen("lines", "change", (event) => { state.lines = event.target.checked ? "1" : "0"; changed(false); });
  listen("rows", "change", (event) => {
    const slug = event.target.dataset.slug;
    const others = picked().filter((one) => one !== slug);
    const now = event.target.checked ? [...others, slug].slice(-2) : others;
    state.pick = now.join(",");
    writeHash(state, DEFAULTS);
    for (const box of at("rows").querySelectorAll("input")) box.checked = now.includes(box.dataset.slug);
    drawBasket();
  });
  listen("basket-clear", "click", () => { state.pick = ""; changed(false); at("ranking").focus(); });
  addEventListener("hashchange", () => {
    if (!isState()) return;
    state = readHash(DEFAULTS);
    drawControls();
    changed();
  });
  addEventListener("resize", plotSoon);
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") at("columns-menu").open = false;
  });
  addEventListener("click", (event) => {
    if (!at("columns-menu").contains(event.target)) at("columns-menu").open = false;
  });
  drawControls();
  for (const element of document.querySelectorAll(".static")) element.remove();
  for (const element of document.querySelectorAll(".scripted")) element.hidden = false;
  changed();
}

start();
