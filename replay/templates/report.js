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
  let logScale = false;

  function themed(trace) {
    const out = Object.assign({}, trace);
    if (trace.meta) out.visible = trace.meta.instrument === instrument;
    if (trace.line) out.line = Object.assign({}, trace.line, { color: colour(trace.line.color) });
    if (trace.fill) out.fillcolor = colour(trace.line.color) + "33";
    if (trace.marker) {
      const own = colour(trace.marker.color);
      const open = trace.marker.symbol.endsWith("open");
      out.marker = Object.assign({}, trace.marker, { color: own, line: { width: trace.marker.line.width, color: open ? own : colour("card") } });
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
    for (const name of ["yaxis", "yaxis3"]) out[name].type = logScale ? "log" : "linear";
    if (chart.layout) out.xaxis.range = chart.layout.xaxis.range;
    return out;
  }

  function draw() {
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
  chart.on("plotly_click", (event) => {
    const point = event.points.find((p) => p.customdata);
    if (point) openTrade(point.customdata);
  });
  document.getElementById("reset").addEventListener("click", () => Plotly.relayout(chart, { "xaxis.range": data.layout.xaxis.range.slice() }));
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
