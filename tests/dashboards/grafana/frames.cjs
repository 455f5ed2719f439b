// Answers of Prometheus as Grafana's data source hands them to panels, and what Grafana's own code
// (@grafana/data) makes of them: transformations, then units, mappings and thresholds.
"use strict";
const { firstValueFrom } = require("rxjs");
const data = require("@grafana/data");

data.standardTransformersRegistry.setInit(() =>
  [...new Map(Object.values(data.standardTransformers).map((t) => [t.id, t])).values()].map((transformation) => ({
    id: transformation.id,
    name: transformation.name,
    transformation: async () => transformation,
    editor: () => null,
  }))
);

// It asks the browser for its language when it shows a number. (Set earlier, it would ask for more.)
globalThis.navigator ??= { language: "en", languages: ["en"], userAgent: "" };
globalThis.window ??= globalThis;

// Settings that overrides may change; Grafana registers each with its editor, which is not needed here.
const SETTINGS =
  "unit decimals min max mappings thresholds color noValue links custom.width custom.minWidth " +
  "custom.inspect custom.align custom.cellOptions custom.lineWidth custom.lineStyle custom.fillOpacity " +
  "custom.fillBelowTo custom.drawStyle custom.scaleDistribution custom.stacking custom.spanNulls " +
  "custom.showPoints custom.pointSize custom.lineInterpolation custom.barAlignment " +
  "custom.gradientMode custom.axisPlacement custom.axisLabel custom.thresholdsStyle custom.hideFrom";
const registry = new data.FieldConfigOptionsRegistry(() =>
  SETTINGS.split(" ").map((id) => ({
    id,
    name: id,
    path: id.replace("custom.", ""),
    isCustom: id.startsWith("custom."),
    process: data.identityOverrideProcessor,
    shouldApply: () => true,
  }))
);

const theme = data.createTheme();

// "Value" and "legendFormat", as grafana-prometheus' result_transformer.ts has them.
function tableFrame(ref, result, alone) {
  const labels = [...new Set(result.flatMap((s) => Object.keys(s.metric)))].sort();
  const points = result.flatMap((s) => (s.values ?? [s.value]).map((p) => [s.metric, p]));
  return data.toDataFrame({
    refId: ref,
    fields: [
      { name: "Time", type: "time", values: points.map(([, p]) => p[0] * 1000) },
      ...labels.map((name) => ({
        name,
        type: "string",
        config: { filterable: true },
        values: points.map(([metric]) => metric[name] ?? ""),
      })),
      {
        name: alone ? "Value" : `Value #${ref}`,
        type: "number",
        values: points.map(([, p]) => Number(p[1])),
      },
    ],
  });
}

function legend(format, metric) {
  if (!format) {
    const { __name__: name = "", ...labels } = metric;
    const said = Object.entries(labels).map(([k, v]) => `${k}="${v}"`);
    return said.length || !name ? `${name}{${said.join(", ")}}` : name;
  }
  return format.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, label) => metric[label] ?? "");
}

function seriesFrame(target, series) {
  const points = series.values ?? [series.value];
  return data.toDataFrame({
    refId: target.refId,
    fields: [
      { name: "Time", type: "time", values: points.map((p) => p[0] * 1000) },
      {
        name: "Value",
        type: "number",
        labels: series.metric,
        config: { displayNameFromDS: legend(target.legendFormat, series.metric) },
        values: points.map((p) => Number(p[1])),
      },
    ],
  });
}

function framesOf({ panel, results }) {
  const filled = panel.targets.map((target, i) => [target, results[i].result]);
  const tables = filled.filter(([t, r]) => t.format === "table" && r.length);
  return filled.flatMap(([target, result]) => {
    if (target.format === "table") {
      return result.length ? [tableFrame(target.refId, result, tables.length === 1)] : [];
    }
    return result.map((series) => seriesFrame(target, series));
  });
}

async function drawn(answered) {
  const { panel } = answered;
  const frames = await firstValueFrom(
    data.transformDataFrame(panel.transformations ?? [], framesOf(answered))
  );
  return data.applyFieldOverrides({
    data: frames,
    fieldConfig: panel.fieldConfig,
    replaceVariables: (text) => text,
    theme,
    timeZone: "utc",
    fieldConfigRegistry: registry,
  });
}

module.exports = { data, drawn, framesOf, theme };
