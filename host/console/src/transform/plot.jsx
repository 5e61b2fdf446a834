// A small plot over the last minutes. All plots of a page have one cursor.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { clock } from "../format.js";

const HEIGHT = 128;

/** A colour of the page: the plot is drawn again when the palette changes. */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/**
 * `times` in seconds; `series` are `{label, values, colour, dash}`; `show` writes a value; `marks` are moments with a label;
 * `limit` is drawn as a line.
 */
export function Plot({ title, times, series, show, marks, limit }) {
  const frame = useRef(null);
  const plot = useRef(null);
  const shown = useRef(null);
  shown.current = { times, series, marks, limit };

  useEffect(() => {
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(frame.current.clientWidth, series, show, shown), data(shown.current.times, shown.current.series), frame.current);
    };
    draw();
    const palette = matchMedia("(prefers-color-scheme: dark)");
    palette.addEventListener("change", draw);
    const size = new ResizeObserver(() => {
      const width = frame.current.clientWidth;
      if (width > 0 && width !== plot.current.width) plot.current.setSize({ width, height: HEIGHT });
    });
    size.observe(frame.current);
    return () => {
      palette.removeEventListener("change", draw);
      size.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, []);
  useEffect(() => plot.current?.setData(data(times, series)), [times, marks, limit]);

  return (
    <figure class="plot">
      <figcaption>
        {title}
        {series.map(({ label, values, mark }) => (
          <span class="legend" key={label}>
            <span class={`swatch ${mark}`} aria-hidden="true" /> {label} <strong>{show(last(values))}</strong>
          </span>
        ))}
      </figcaption>
      <div ref={frame} class="plot-frame" role="img" aria-label={inWords(title, series, show)} />
    </figure>
  );
}

function data(times, series) {
  return [times, ...series.map(({ values }) => values)];
}

function last(values) {
  return values.length > 0 ? values[values.length - 1] : null;
}

function inWords(title, series, show) {
  const each = series.map(({ label, values }) => {
    const known = values.filter((value) => value !== null);
    return known.length === 0 ? `${label} unknown` : `${label} now ${show(last(values))}, highest ${show(Math.max(...known))}`;
  });
  return `${title} over the last minutes: ${each.join("; ")}`;
}

function options(width, series, show, shown) {
  const grid = { stroke: colour("--line"), width: 1 };
  const axis = { stroke: colour("--quiet"), font: "11px system-ui", grid, ticks: { show: false } };
  return {
    width: Math.max(width, 120),
    height: HEIGHT,
    legend: { show: false },
    cursor: { sync: { key: "transform" }, points: { size: 5 }, y: false },
    padding: [8, 28, 0, 0],
    scales: { x: { time: true }, y: { range: (_, __, max) => [0, Math.max(max ?? 0, shown.current.limit ?? 0, 1) * 1.08] } },
    axes: [
      { ...axis, values: (_, splits, __, ___, step) => splits.map((at) => clock(at * 1000).slice(0, step < 60 ? 8 : 5)), space: 72, size: 22 },
      { ...axis, values: (_, splits) => splits.map((value) => show(value)), space: 28, size: 62 },
    ],
    series: [{}, ...series.map(({ label, mark, dash }) => ({ label, stroke: colour(`--series-${mark}`), width: 1.5, dash, points: { show: false } }))],
    hooks: { draw: [(plot) => drawMarks(plot, shown.current)], setCursor: [(plot) => tell(plot, series, show)] },
  };
}

/** Deployments as lines from top to bottom, a limit from left to right. */
function drawMarks(plot, { marks = [], limit }) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.setLineDash([4, 3]);
  ctx.font = `${10 * devicePixelRatio}px system-ui`;
  for (const { at, label } of marks) {
    const x = plot.valToPos(at, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.strokeStyle = ctx.fillStyle = colour("--accent");
    line(ctx, x, bbox.top, x, bbox.top + bbox.height);
    ctx.fillText(label, x + 3 * devicePixelRatio, bbox.top + 9 * devicePixelRatio);
  }
  if (limit) {
    const y = plot.valToPos(limit, "y", true);
    ctx.strokeStyle = colour("--bad");
    line(ctx, bbox.left, y, bbox.left + bbox.width, y);
  }
  ctx.restore();
}

function line(ctx, fromX, fromY, toX, toY) {
  ctx.beginPath();
  ctx.moveTo(fromX, fromY);
  ctx.lineTo(toX, toY);
  ctx.stroke();
}

/** The values under the cursor. */
function tell(plot, series, show) {
  const { idx } = plot.cursor;
  const text = idx === null || idx === undefined ? "" : `${clock(plot.data[0][idx] * 1000)}  ${series.map(({ label }, index) => `${label} ${show(plot.data[index + 1][idx])}`).join("  ")}`;
  plot.root.title = text;
}
