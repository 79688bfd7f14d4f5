"use strict";
/* The page's own script: draws the chart in the theme's colours, and sorts, filters and opens the trades. */
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const chart = document.getElementById("chart");
  const root = document.documentElement;
  const colour = (name) => getComputedStyle(root).getPropertyValue("--" + name).trim();
  const isTouch = window.matchMedia("(pointer: coarse)").matches;
  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : window.matchMedia("(prefers-color-scheme: dark)").matches;

  let instrument = data.traces.map((t) => t.meta && t.meta.instrument).find(Boolean);
  let logScale = data.log;

  const ms = (t) => typeof t === "number" ? t : Date.parse(t.length > 10 ? t.replace(" ", "T") + "Z" : t);
  const inView = () => (chart.layout || data.layout).xaxis.range.map(ms);

  /* The more markers in view, the smaller, so that they never bury the price. */
  function markerSize() {
    const [from, to] = inView();
    let count = 0;
    for (const trace of data.traces) {
      if (trace.marker && trace.meta.instrument === instrument) for (const x of trace.x) count += x >= from && x <= to;
    }
    return count > 400 ? 5 : count > 150 ? 7 : 10;
  }

  /* The range of what is in view on an axis, with a little room; plotly.js alone would fit the whole period. */
  function fitted(axis) {
    const [from, to] = inView();
    let low = Infinity, high = -Infinity;
    data.traces.forEach((trace, index) => {
      const shown = chart.data ? chart.data[index].visible !== "legendonly" : true;
      if (trace.yaxis !== axis || !shown || (trace.meta && trace.meta.instrument !== instrument)) return;
      trace.x.forEach((x, i) => {
        if (x === null) return;
        const before = trace.x[i - 1] ?? x, after = trace.x[i + 1] ?? x;
        const joins = trace.mode === "lines" && (x < from && after >= from || x > to && before <= to);
        if (x >= from && x <= to || joins) { low = Math.min(low, trace.y[i]); high = Math.max(high, trace.y[i]); }
      });
    });
    if (low > high) return null;
    const log = logScale && low > 0;
    if (log) { low = Math.log10(low); high = Math.log10(high); }
    const room = (high - low || Math.abs(high) || 1) * 0.06;
    return { log: log, range: [low - room, high + room] };
  }

  function themed(trace) {
    const out = Object.assign({}, trace);
    if (trace.meta) out.visible = trace.meta.instrument === instrument;
    if (trace.line) out.line = Object.assign({}, trace.line, { color: colour(trace.line.color) });
    if (trace.fill) out.fillcolor = colour(trace.line.color) + "33";
    if (trace.marker) {
      const own = colour(trace.marker.color);
      const open = trace.marker.symbol.endsWith("open");
      const size = markerSize();
      const width = size > 7 ? trace.marker.line.width : open ? 1 : 0;
      out.marker = Object.assign({}, trace.marker, { color: own, size: size, line: { width: width, color: open ? own : colour("card") } });
    }
    return out;
  }

  function layout() {
    const line = colour("line"), soft = colour("soft");
    const out = structuredClone(data.layout);
    out.paper_bgcolor = out.plot_bgcolor = colour("card");
    out.font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: soft };
    out.dragmode = isTouch ? false : "zoom";
    out.hoverlabel = { bgcolor: colour("card"), bordercolor: line, font: { family: out.font.family, color: colour("ink"), size: 12 }, align: "left" };
    for (const name of ["xaxis", "yaxis", "yaxis2", "yaxis3"]) Object.assign(out[name], { gridcolor: line, linecolor: line, tickcolor: line, spikecolor: soft, spikethickness: 1, spikedash: "dot" });
    out.uirevision = "page";
    if (chart.layout) out.xaxis.range = chart.layout.xaxis.range;
    for (const [name, axis] of [["yaxis", "y"], ["yaxis3", "y3"]]) {
      const fit = fitted(axis);
      if (!fit) continue;
      out[name].type = fit.log ? "log" : "linear";
      out[name].range = fit.range;
      if (fit.log && fit.range[1] - fit.range[0] > 0.5) out[name].dtick = "D2";
    }
    const deepest = fitted("y2");
    if (deepest) out.yaxis2.range = [Math.min(deepest.range[0], -0.01), 0];
    return out;
  }

  /* The reliability curves, in the page's theme; the models take plotly's own colours, which show on both. */
  function drawReliability() {
    const place = document.getElementById("reliability");
    if (!place) return;
    const out = structuredClone(data.reliability.layout), line = colour("line");
    out.paper_bgcolor = out.plot_bgcolor = colour("card");
    out.font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("soft") };
    for (const name of ["xaxis", "yaxis"]) Object.assign(out[name], { gridcolor: line, linecolor: line, tickcolor: line });
    const themedLine = (t) => t.line ? Object.assign({}, t, { line: Object.assign({}, t.line, { color: colour(t.line.color) }) }) : t;
    Plotly.react(place, data.reliability.traces.map(themedLine), out, { responsive: true, displayModeBar: false });
  }

  function draw() {
    drawReliability();
    Plotly.react(chart, data.traces.map(themed), layout(), { responsive: true, displayModeBar: false, doubleClick: "reset+autosize" });
  }

  function openTrade(number) {
    const row = document.getElementById("trade-" + number);
    if (!row) return;
    row.hidden = false;
    row.open = true;
    row.scrollIntoView({ block: "start" });
  }

  draw();
  chart.on("plotly_relayout", draw);
  chart.on("plotly_restyle", draw);
  chart.on("plotly_click", (event) => {
    const point = event.points.find((p) => p.customdata);
    if (point) openTrade(point.customdata);
  });
  document.getElementById("reset").addEventListener("click", () => Plotly.relayout(chart, { "xaxis.range": data.layout.xaxis.range.slice() }));
  document.getElementById("log").checked = logScale;
  document.getElementById("log").addEventListener("change", (event) => { logScale = event.target.checked; draw(); });
  const pick = document.getElementById("instrument");
  if (pick) pick.addEventListener("change", () => { instrument = pick.value; draw(); });

  const theme = document.getElementById("theme");
  const label = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
  theme.hidden = false;
  theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; label(); draw(); });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { label(); draw(); });
  label();

  const controls = document.getElementById("trade-controls");
  if (!controls) return;
  controls.hidden = false;
  const list = document.getElementById("list"), rows = Array.from(list.children);
  const sort = document.getElementById("sort"), filter = document.getElementById("filter"), find = document.getElementById("find");
  sort.addEventListener("change", () => {
    const by = sort.value, sign = by === "n" ? 1 : -1;
    rows.sort((a, b) => sign * (Number(a.dataset[by]) - Number(b.dataset[by])) || a.dataset.n - b.dataset.n);
    list.append(...rows);
  });
  const narrow = () => {
    const words = find.value.toLowerCase();
    for (const row of rows) row.hidden = !(row.dataset.tags.split(" ").includes(filter.value) || !filter.value) || !row.textContent.toLowerCase().includes(words);
  };
  filter.addEventListener("change", narrow);
  find.addEventListener("input", narrow);
})();
