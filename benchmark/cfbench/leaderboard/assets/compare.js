const DEFAULTS = { track: DATA.boards[0].track, a: "", b: "" };
const at = (id) => document.getElementById(id);
const DECLARED = [
  "Team", "Status", "Date", "Training data", "Only track data", "Front end", "Its training data",
  "Parameters", "Preprocessing", "Licence",
];
let state = readHash(DEFAULTS);

function board() {
  return DATA.boards.find((one) => one.track === state.track) || DATA.boards[0];
}

// The systems as indices: those that were asked for, else the first two of the overall table.
function pair() {
  const { systems, tables } = board();
  const ranked = tables[0].rows.map((row) => row[0]).filter((index) => systems[index][0]);
  const index = (slug) => systems.findIndex((one) => one[0] && one[0] === slug);
  let a = index(state.a), b = index(state.b);
  if (a < 0) a = ranked.find((one) => one !== b) ?? b;
  if (b < 0) b = ranked.find((one) => one !== a) ?? a;
  return [a, b];
}

function shown(cell) {
  const td = make("td", { class: "num", title: cell.reason }, cell.value === null ? make("span", { class: "soft" }, "n/a") : percent(cell.value));
  if (cell.low !== undefined) td.append(" ", make("small", {}, interval(cell)));
  return td;
}

function difference(one, two, higher) {
  if (one.value === null || two.value === null) return make("td", { class: "num soft" }, "n/a");
  const by = (one.exact - two.exact) / 1e4;
  const text = `${by > 0.05 ? "+" : by < -0.05 ? "−" : "±"}${Math.abs(by).toFixed(1)}`;
  const better = Math.abs(by) < 0.05 ? "" : by > 0 === higher ? "for A" : "for B";
  return make("td", { class: "num" }, text, " ", make("small", {}, better));
}

function drawValues([a, b]) {
  const one = board();
  const rows = [];
  for (const { id } of one.tables) {
    const table = rowsOf(one, id);
    for (let split = one.splits.length - 1; split >= 0; split -= 1) {
      const [left, right] = [valueOf(one, id, a, split), valueOf(one, id, b, split)];
      const title = make("th", { scope: "row" }, table.title, ", ", one.names[split].toLowerCase(), " ", make("small", {}, `${table.metric} ${table.higher ? "↑" : "↓"}`));
      rows.push(make("tr", {}, title, shown(left), shown(right), difference(left, right, table.higher)));
    }
  }
  at("values").replaceChildren(...rows);
}

function heat(value) {
  if (value === null || value === undefined) return make("td", { class: "soft", title: "not answered" }, "–");
  return make("td", { class: `h${Math.floor(value / 10)}` }, String(value));
}

function drawSources(chosen) {
  const one = board();
  const rows = [];
  let split = -1;
  one.sources.forEach(([part, source, kind, count], index) => {
    if (part !== split) {
      split = part;
      rows.push(make("tr", {}, make("th", { class: "part", scope: "colgroup", colspan: 1 + 2 * one.tasks.length }, one.names[split])));
    }
    const tr = make("tr", {}, make("th", { scope: "row" }, source, " ", make("small", {}, `${kind ? "bona fide" : "fake"}, ${count.toLocaleString("en")}`)));
    one.tasks.forEach((_, task) => chosen.forEach((system, side) => {
      const found = one.right[system]?.[task];
      const td = heat(found ? found[index] : null);
      if (side === 0) td.classList.add("cut");
      tr.append(td);
    }));
    rows.push(tr);
  });
  const top = make("tr", {}, make("th", { rowspan: 2, scope: "col" }, "Source"));
  const under = make("tr", {});
  for (const task of one.tasks) {
    top.append(make("th", { colspan: 2, scope: "colgroup", class: "of" }, task.toUpperCase()));
    under.append(make("th", { scope: "col" }, "A"), make("th", { scope: "col" }, "B"));
  }
  at("source-head").replaceChildren(top, under);
  at("sources").replaceChildren(...rows);
}

function drawDeclared(chosen) {
  const one = board();
  at("declared").replaceChildren(...DECLARED.map((title, index) => make("tr", {},
    make("th", { scope: "row" }, title),
    ...chosen.map((system) => {
      const said = one.declared[system]?.[index] ?? "";
      const lines = Array.isArray(said) ? said : [said];
      return make("td", {}, ...lines.map((text) => make("div", {}, text || "–")));
    }))));
}

function draw() {
  const one = board(), chosen = pair();
  options(at("track"), DATA.boards.map((b) => [b.track, b.title]), one.track);
  const pairs = one.systems.filter((system) => system[0]).map((system) => [system[0], `${system[1]} (${system[2]})`]);
  pairs.sort((x, y) => x[1].localeCompare(y[1]));
  ["a", "b"].forEach((side, index) => {
    options(at(side), pairs, one.systems[chosen[index]][0]);
    const [slug, name] = one.systems[chosen[index]];
    for (const place of document.querySelectorAll(`.name-${side}`)) {
      place.replaceChildren(`${side.toUpperCase()}: `, make("a", { href: `systems/${slug}.html` }, name));
    }
  });
  drawValues(chosen);
  drawSources(chosen);
  drawDeclared(chosen);
  writeHash({ track: one.track, a: one.systems[chosen[0]][0], b: one.systems[chosen[1]][0] }, DEFAULTS);
}

for (const side of ["a", "b"]) {
  at(side).addEventListener("change", (event) => {
    const [a, b] = pair().map((index) => board().systems[index][0]);
    state = { ...state, a, b, [side]: event.target.value };
    draw();
  });
}
at("track").addEventListener("change", (event) => { state = { ...DEFAULTS, track: event.target.value }; draw(); });
at("swap").addEventListener("click", () => {
  const [a, b] = pair().map((index) => board().systems[index][0]);
  state = { ...state, a: b, b: a };
  draw();
});
addEventListener("hashchange", () => {
  if (!isState()) return;
  state = readHash(DEFAULTS);
  draw();
});
draw();
for (const element of document.querySelectorAll(".scripted")) element.hidden = false;
