"use strict";
/* Draws the sweep in the colours of the reader's theme. */
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue("--" + name).trim();
  const layout = Object.assign({
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: colour("ink") || undefined },
    margin: { t: 40, r: 40 },
  }, data.layout);
  Plotly.newPlot("chart", data.traces, layout, { responsive: true, displaylogo: false });
})();
