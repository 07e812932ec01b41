"use strict";
// The lines of each set, sorted and filtered here, and put into the page a slice at a time: as text, never as markup.

const SLICE = 25;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function showLines(browser) {
  const { systems, baseline, source, lines } = JSON.parse(browser.querySelector("script").textContent);
  const last = systems.length - 1;
  const rivals = baseline ? last : systems.length; // those before the baseline, which is the last
  const score = (line, system) => line[1 + system][0];
  const joined = lines.map((line) =>
    [line[0], line[1][2].join(""), ...line.slice(1).map((one) => one[1].join(""))].join("\n").toLowerCase());
  const state = { chosen: 0, key: "chrf", direction: 1, shown: SLICE, query: "", low: null, high: null };

  function columns() {
    const found = [
      { label: "Line", key: "line", value: (n) => n, text: (n) => (n + 1).toLocaleString("en") },
      { label: "chrF", key: "chrf", value: (n) => score(lines[n], state.chosen), text: (n) => tenths(score(lines[n], state.chosen)) },
    ];
    if (baseline) found.push({ label: "Change", key: "change", value: change, text: (n) => signed(change(n)) });
    if (source) found.push({ label: "Source", fill: (n) => [lines[n][0]] });
    found.push({ label: "Reference", fill: (n) => marked(lines[n][1 + state.chosen][2], "missing") });
    found.push({ label: systems[state.chosen], fill: (n) => marked(lines[n][1 + state.chosen][1], "differs") });
    if (baseline) found.push({ label: systems[last], fill: (n) => marked(lines[n][1 + last][1], "differs") });
    return found;
  }

  function change(n) {
    const [mine, theirs] = [score(lines[n], state.chosen), score(lines[n], last)];
    return mine === null || theirs === null ? null : mine - theirs;
  }

  const tenths = (value) => (value === null ? "\u2013" : value.toFixed(1));
  const signed = (value) => (value === null ? "\u2013" : (value > 0 ? "+" : value < 0 ? "\u2212" : "") + Math.abs(value).toFixed(1));
  const marked = (segments, kind) => segments.map((text, n) =>
    (n % 2 ? element("mark", { className: kind, textContent: text }) : text));

  function matching() {
    const within = (value) => (state.low === null || (value !== null && value >= state.low))
      && (state.high === null || (value !== null && value <= state.high));
    const by = columns().find((column) => column.key === state.key).value;
    const found = [...lines.keys()].filter((n) => joined[n].includes(state.query) && within(score(lines[n], state.chosen)));
    // lines without a score come last, whichever way; equal ones in their order
    return found.sort((a, b) => {
      const [left, right] = [by(a), by(b)];
      if (left === null || right === null) return (left === null) - (right === null) || a - b;
      return (left - right) * state.direction || a - b;
    });
  }

  const status = element("p");
  status.setAttribute("role", "status");
  const head = element("thead");
  const body = element("tbody");
  const table = element("table", { className: "lines" }, head, body);
  table.setAttribute("aria-labelledby", browser.getAttribute("aria-labelledby"));
  const more = element("button", { type: "button", onclick: () => show(state.shown + SLICE) });
  const all = element("button", { type: "button", onclick: () => show(Infinity) });

  function show(shown = SLICE) {
    const [all_columns, found] = [columns(), matching()];
    state.shown = Math.min(shown, found.length);
    head.replaceChildren(element("tr", {}, ...all_columns.map(heading)));
    body.replaceChildren(...found.slice(0, state.shown).map((n) => element("tr", {}, ...all_columns.map((column) => cell(column, n)))));
    const left = found.length - state.shown;
    status.textContent = `${found.length.toLocaleString("en")} of ${lines.length.toLocaleString("en")} lines`;
    more.textContent = `Show ${Math.min(SLICE, left)} more`;
    all.textContent = `Show all ${found.length.toLocaleString("en")}`;
    more.hidden = left === 0;
    all.hidden = left <= SLICE;
  }

  function heading({ label, key }) {
    if (!key) return element("th", { scope: "col", className: "text", textContent: label });
    const made = element("th", { scope: "col", className: `narrow number ${key}` });
    if (key === state.key) made.setAttribute("aria-sort", state.direction > 0 ? "ascending" : "descending");
    made.append(element("button", { type: "button", textContent: label, onclick: () => sortBy(key) }));
    return made;
  }

  function sortBy(key) {
    state.direction = key === state.key ? -state.direction : 1;
    state.key = key;
    show();
    head.querySelector("[aria-sort] button").focus();
  }

  function cell(column, n) {
    const made = column.key
      ? element("td", { className: "number", textContent: column.text(n) })
      : element("td", { dir: "auto" }, ...column.fill(n));
    made.dataset.label = column.label;
    return made;
  }

  function control(label, made, className = "") {
    return element("label", { className }, label, made);
  }

  const bound = (side) => element("input", {
    type: "number", min: 0, max: 100, step: "any", placeholder: side === "low" ? "0" : "100",
    oninput: (event) => { state[side] = event.target.value === "" ? null : Number(event.target.value); show(); },
  });
  const query = element("input", {
    type: "search", autocomplete: "off", oninput: (event) => { state.query = event.target.value.toLowerCase(); show(); },
  });
  const controls = element("div", { className: "controls" }, control("Search all columns", query, "search"),
    control("chrF from", bound("low")), control("to", bound("high")));
  if (rivals > 1) {
    const choice = element("select", { onchange: (event) => { state.chosen = Number(event.target.value); show(); } },
      ...systems.slice(0, rivals).map((name, n) => element("option", { value: n, textContent: name })));
    controls.append(control("System", choice));
  }
  controls.append(status);
  browser.append(controls, table, element("div", { className: "more" }, more, all));
  show();
}

document.querySelectorAll(".browser").forEach(showLines);
performance.mark("interactive");
