// Draws a board from recorded answers with Grafana's own components (@grafana/ui): graphs, tables,
// stats and bars are Grafana's. State timelines, heatmaps and the canvas belong to Grafana's server
// and are not published as a package: those are drawn here, as simply as can be.
import React from "react";
import { createRoot } from "react-dom/client";
import { BarGauge, BigValue, GlobalStyles, Table, ThemeContext, TimeSeries } from "@grafana/ui";
import { data, drawn, theme } from "./frames.cjs";

const CELL = { height: 38, gap: 8 };
const WIDTH = 1600;
const column = (WIDTH - 16) / 24;

// Prometheus writes the last bucket's end so.
const upTo = (series) => (series.metric.le === "+Inf" ? Infinity : Number(series.metric.le));
const last = (field) => [...field.values].reverse().find((v) => v !== null && !Number.isNaN(v));
const named = (field, frame, frames) => data.getFieldDisplayName(field, frame, frames);
const numbers = (frames) =>
  frames.flatMap((frame) =>
    frame.fields.filter((f) => f.type === "number").map((field) => ({ field, frame }))
  );

function Stat({ panel, frames, width, height }) {
  const [found] = numbers(frames);
  const { options, fieldConfig } = panel;
  const value = found
    ? { ...found.field.display(last(found.field)), title: named(found.field, found.frame, frames) }
    : { text: fieldConfig.defaults.noValue, numeric: NaN, color: theme.colors.text.disabled };
  return (
    <BigValue
      theme={theme}
      width={width}
      height={height}
      value={value}
      colorMode={options.colorMode}
      graphMode="none"
      justifyMode="center"
      textMode={found ? options.textMode : "value"}
    />
  );
}

function Bars({ frames, width, height }) {
  const shown = numbers(frames);
  const each = Math.min(40, height / Math.max(1, shown.length));
  return shown.map(({ field, frame }, i) => (
    <BarGauge
      key={i}
      theme={theme}
      width={width}
      height={each - 4}
      orientation="horizontal"
      displayMode="basic"
      field={{ ...field.config, min: 0, max: field.config.max ?? 1.5 }}
      display={field.display}
      value={{ ...field.display(last(field)), title: named(field, frame, frames) }}
    />
  ));
}

function Lanes({ frames, width, height, span }) {
  const shown = numbers(frames);
  const left = Math.min(230, width * 0.4);
  const each = Math.min(34, height / Math.max(1, shown.length));
  const x = (t) => left + ((t - span[0]) / (span[1] - span[0])) * (width - left);
  return (
    <svg width={width} height={height}>
      {shown.map(({ field, frame }, row) => {
        const times = frame.fields[0].values;
        const step = 2000;
        return (
          <g key={row} transform={`translate(0 ${row * each})`}>
            <text x={left - 8} y={each / 2 + 4} textAnchor="end" fontSize="11" fill="#ccccdc">
              {named(field, frame, frames).slice(0, 38)}
            </text>
            {field.values.map((value, i) => {
              if (value === null) return null;
              const run = i > 0 && field.values[i - 1] === value && times[i] - times[i - 1] <= step;
              const shownAs = field.display(value);
              return (
                <g key={i}>
                  <rect x={x(times[i])} y={2} width={x(span[0] + step) - left + 0.5}
                    height={each - 4} fill={shownAs.color} opacity="0.7" />
                  {!run && each > 12 && (
                    <text x={x(times[i]) + 4} y={each / 2 + 4} fontSize="10" fill="#fff">
                      {shownAs.text}
                    </text>
                  )}
                </g>
              );
            })}
          </g>
        );
      })}
    </svg>
  );
}

function Heat({ answered, width, height, span }) {
  const [{ result }] = answered.results;
  const sorted = [...result].sort((a, b) => upTo(a) - upTo(b));
  const counts = sorted.map((s, row) =>
    s.values.map(([t, v], i) => [t, Math.max(0, v - (row ? sorted[row - 1].values[i]?.[1] ?? 0 : 0))])
  );
  const used = counts.map((c, row) => [c, row]).filter(([c]) => c.some(([, v]) => v > 0.01));
  const most = Math.max(...used.flatMap(([c]) => c.map(([, v]) => v)), 1);
  const each = (height - 16) / Math.max(1, used.length);
  const format = data.getValueFormat("s");
  return (
    <svg width={width} height={height}>
      {used.map(([cells, row], i) => (
        <g key={row} transform={`translate(0 ${height - 16 - (i + 1) * each})`}>
          <text x="62" y={each / 2 + 4} textAnchor="end" fontSize="10" fill="#ccccdc">
            {Number.isFinite(upTo(sorted[row]))
              ? `≤ ${data.formattedValueToString(format(upTo(sorted[row]), 0))}` : "above"}
          </text>
          {cells.map(([t, v], k) => (
            <rect key={k} x={70 + ((t * 1000 - span[0]) / (span[1] - span[0])) * (width - 74)} y="0.5"
              width={(width - 70) / cells.length} height={each - 1} fill="#5794f2"
              opacity={v > 0 ? 0.15 + 0.85 * Math.sqrt(v / most) : 0} />
          ))}
        </g>
      ))}
    </svg>
  );
}

function Canvas({ panel, frames, width, height }) {
  const fields = new Map((frames[0]?.fields ?? []).map((f) => [f.name, f]));
  const seen = (name) => fields.get(name)?.display(fields.get(name).values[0]);
  const colour = (c) => (c.field && seen(c.field)?.color) || theme.visualization.getColorByName(c.fixed);
  const all = panel.options.root.elements;
  const place = new Map(all.map((e) => [e.name, e.placement]));
  const end = (p, at) => [
    p.left + (p.width * (1 + at.x)) / 2,
    p.top + (p.height * (1 - at.y)) / 2,
  ];
  return (
    <svg width={width} height={height}>
      {all.flatMap((e) =>
        e.connections.map((c) => {
          const [x1, y1] = end(e.placement, c.source);
          const [x2, y2] = end(place.get(c.targetName), c.target);
          return <line key={e.name + c.targetName} {...{ x1, y1, x2, y2 }} stroke={colour(c.color)}
            strokeWidth={c.size.fixed} />;
        })
      )}
      {all.map((e) => {
        const { left, top, width: w, height: h } = e.placement;
        const { text, size } = e.config;
        const value = text.mode === "field" ? seen(text.field) : null;
        const lines = value ? [data.formattedValueToString(value)]
          : text.mode === "field" ? [] : text.fixed.split("\n");
        return (
          <g key={e.name}>
            {e.type === "rectangle" && (
              <rect x={left} y={top} width={w} height={h} rx={e.border.radius} fill="#181b1f"
                stroke={colour(e.border.color)} strokeWidth={e.border.width} />
            )}
            {lines.map((line, i) => (
              <text key={i} x={left + w / 2} y={top + h / 2 + 4 + (i - (lines.length - 1) / 2) * 16}
                textAnchor="middle" fontSize={Math.min(size, line.length > 22 ? 9 : size)} fill="#ccccdc">
                {line}
              </text>
            ))}
          </g>
        );
      })}
    </svg>
  );
}

function Graph({ panel, frames, width, height, span }) {
  if (!frames.length) return <Nothing />;
  const range = { from: data.dateTime(span[0]), to: data.dateTime(span[1]) };
  return (
    <TimeSeries frames={frames} timeRange={{ ...range, raw: range }} timeZone="utc" width={width}
      height={height} legend={{ ...panel.options.legend, calcs: [] }} options={panel.options} />
  );
}

const Nothing = () => <div style={{ padding: 24, textAlign: "center", opacity: 0.6 }}>No data</div>;

function sorted(frame, by) {
  if (!by?.length) return frame;
  const field = frame.fields.find((f) => named(f, frame) === by[0].displayName);
  const rank = (v) => (v === null || v === undefined ? Infinity : v);
  const order = [...field.values.keys()].sort((a, b) => {
    const [x, y] = [rank(field.values[a]), rank(field.values[b])];
    return (x < y ? -1 : x > y ? 1 : 0) * (by[0].desc ? -1 : 1);
  });
  return {
    ...frame,
    fields: frame.fields.map((f) => ({ ...f, values: order.map((i) => f.values[i]) })),
  };
}

function Rows({ panel, frames, width, height }) {
  if (!frames[0]?.length) return <Nothing />;
  return <Table data={sorted(frames[0], panel.options.sortBy)} width={width} height={height}
    columnMinWidth={80} cellHeight="sm" />;
}

const KINDS = {
  stat: Stat, bargauge: Bars, "state-timeline": Lanes, heatmap: Heat, canvas: Canvas,
  timeseries: Graph, table: Rows,
};

class Frame extends React.Component {
  state = {};
  static getDerivedStateFromError(error) {
    return { error };
  }
  render() {
    const { panel, left, top, width, height } = this.props;
    const Kind = KINDS[panel.type];
    return (
      <section style={{ position: "absolute", left, top, width, height, background: "#181b1f",
        border: "1px solid #2c2f36", borderRadius: 3, overflow: "hidden" }}>
        <div style={{ font: "500 13px Inter, sans-serif", padding: "6px 8px", height: 28 }}>
          {panel.title}
        </div>
        <div style={{ padding: "0 8px" }}>
          {this.state.error ? `cannot be drawn: ${this.state.error}`
            : <Kind {...this.props} width={width - 18} height={height - 36} />}
        </div>
      </section>
    );
  }
}

async function main() {
  const { answers, board, note } = window.SMOLMON;
  const { panels, rows, title, node } = answers.boards[board];
  const span = [answers.start * 1000, answers.time * 1000];
  const shown = [];
  let bottom = 0;
  for (const answered of panels) {
    const { gridPos: at } = answered.panel;
    const place = {
      left: 8 + at.x * column,
      top: 64 + at.y * CELL.height,
      width: at.w * column - CELL.gap,
      height: at.h * CELL.height - CELL.gap,
    };
    const frames = answered.panel.type === "heatmap" ? [] : await drawn(answered);
    bottom = Math.max(bottom, place.top + place.height);
    shown.push(
      <Frame key={answered.panel.id} {...place} panel={answered.panel} answered={answered}
        frames={frames} span={span} />
    );
  }
  document.body.style.cssText = `margin:0;background:#111217;color:#ccccdc;width:${WIDTH}px;height:${bottom + 8}px;font:12px Inter,"DejaVu Sans",sans-serif`;
  document.title = `height ${Math.ceil(bottom + 8)}`;
  createRoot(document.getElementById("board")).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <div style={{ padding: "10px 12px", lineHeight: "20px" }}>
        <b style={{ fontSize: 16 }}>{title}</b> · {node}
        <br />
        <span style={{ opacity: 0.7 }}>{note}</span>
      </div>
      {rows.map(([text, y]) => (
        <div key={text} style={{ position: "absolute", left: 14, top: 64 + y * CELL.height + 6, fontSize: 15 }}>
          {text}
        </div>
      ))}
      {shown}
    </ThemeContext.Provider>
  );
}

main().catch((error) => (document.body.innerText = error.stack));
