"use strict";
// What both pages with data share. Names come from strangers: they only ever become text nodes.
const DATA = JSON.parse(document.getElementById("data").textContent);

function make(tag, attributes = {}, ...children) {
  const space = "http://www.w3.org/2000/svg";
  const [, svg, name] = /^(svg:)?(.*)$/.exec(tag);
  const element = svg ? document.createElementNS(space, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

// A value as it is sent: [per cent as shown, millionths, place, by, low, high], or [null, reason].
function unpack(cell, board) {
  if (!cell) return { value: null, reason: "not answered" };
  if (cell[0] === null) return { value: null, reason: board.reasons[cell[1]] };
  const [value, exact, place, by, low, high] = cell;
  return { value, exact, place, by, low, high };
}

function percent(value) {
  return value === null || value === undefined ? "n/a" : value.toFixed(1);
}

function interval(cell) {
  return cell.low === undefined ? "" : `[${percent(cell.low)}, ${percent(cell.high)}]`;
}

// A table's rows by system, each a list of values by split.
function rowsOf(board, id) {
  const table = board.tables.find((one) => one.id === id);
  if (!table.byRow) {
    table.byRow = table.rows.map(([system, ...cells]) => ({
      system, cells: cells.map((cell) => unpack(cell, board)),
    }));
    table.bySystem = new Map(table.byRow.map((row) => [row.system, row.cells]));
  }
  return table;
}

const ABSENT = { value: null, reason: "not answered" };

function valueOf(board, id, system, split) {
  const cells = rowsOf(board, id).bySystem.get(system);
  return cells ? cells[split] : ABSENT;
}

// The state of the page lives behind the # of its address, so that a link shows the same again.
function readHash(defaults) {
  const state = { ...defaults };
  for (const [key, value] of new URLSearchParams(location.hash.slice(1))) {
    if (key in defaults) state[key] = value;
  }
  return state;
}

function writeHash(state, defaults) {
  const said = new URLSearchParams();
  for (const [key, value] of Object.entries(state)) {
    if (value !== defaults[key]) said.set(key, value);
  }
  const text = said.toString();
  try {
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  } catch {
    // A frame without an address of its own: the page works, its link does not carry the state.
  }
}

// A link to a place on the page, such as #rules, is no state.
function isState() {
  return location.hash === "" || location.hash === "#" || location.hash.includes("=");
}

function options(select, pairs, chosen) {
  select.replaceChildren(...pairs.map(([value, text]) => {
    const option = make("option", { value }, text);
    option.selected = value === chosen;
    return option;
  }));
}
