// Runs the transformations of every panel through Grafana's own code, on recorded answers of a real
// Prometheus, and checks that each panel gets the one table that it needs. Prints one line a panel.
"use strict";
const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const { data, drawn } = require("./frames.cjs");

const CHECKLIST = ["check", "state", "node", "target", "since", "cause", "fix", "guide"];

const rows = (frame) =>
  Array.from({ length: frame.length }, (_, i) =>
    Object.fromEntries(
      frame.fields.map((f) => [data.getFieldDisplayName(f, frame), f.values[i]])
    )
  );

function checklist(frame) {
  const found = rows(frame);
  assert.deepEqual(Object.keys(found[0]), CHECKLIST);
  const checks = new Set(found.map((row) => row.check));
  assert.equal(checks.size, 24);
  for (const row of found) {
    assert.ok([0, 1, 2].includes(row.state), row.check);
    assert.ok(row.guide && row.node, row.check);
    if (row.state === 0) assert.ok(row.cause && row.fix, row.check);
  }
  const failing = (check) => found.filter((row) => row.check === check && row.state === 0);
  const [route] = failing("Return routes to the workers");
  assert.equal(route.node, "mini1");
  assert.equal(route.fix, "ssh mini1 sudo nmcli device reapply bridge0");
  assert.ok(route.since > 1e12);
  const cut = failing("The server answers");
  assert.deepEqual(cut.map((row) => row.node).sort(), ["jetson", "pi4"]);
  assert.ok(cut.every((row) => row.cause === "route at mini1" && row.since > 1e12));
  // Total loss has no alert of its own.
  const lost = failing("Packet loss stays below 1 %").filter((row) => row.node === "pi4");
  assert.ok(lost.length > 0 && lost.every((row) => row.since > 1e12));
}

function matrix(frame) {
  const [corner, ...columns] = frame.fields.map((f) => data.getFieldDisplayName(f, frame));
  assert.equal(corner, "node\\target");
  assert.ok(columns.includes("mini1"));
  assert.deepEqual([...frame.fields[0].values].sort(), "jetson mini1 mini2 mini3 pi4 pi5".split(" "));
  for (const field of frame.fields.slice(1)) {
    assert.equal(field.type, "number");
    assert.ok(field.values.some((value) => typeof value === "number"));
    assert.equal(field.config.unit, "percentunit");
  }
}

function topology(frame, panel) {
  assert.equal(frame.length, 1);
  const fields = new Map(frame.fields.map((f) => [f.name, f]));
  const wanted = panel.options.root.elements.flatMap((element) => [
    element.config.text.field,
    element.border.color.field,
    ...element.connections.map((c) => c.color.field),
  ]);
  for (const name of wanted.filter(Boolean)) {
    const field = fields.get(name);
    assert.ok(field, `no field for ${name}`);
    const shown = field.display(field.values[0]);
    if (/^(node|link) /.test(name)) assert.match(shown.text, /^(up|degraded|down)$/);
    if (name.startsWith("rtt ")) assert.match(shown.suffix, /s$/);
    if (name.startsWith("rate ")) assert.match(shown.suffix, /b\/s$/);
  }
}

function plain(frame, panel) {
  const names = frame.fields.map((f) => data.getFieldDisplayName(f, frame));
  for (const name of names) assert.doesNotMatch(name, /^(Time|Value)/, panel.title);
  assert.equal(new Set(names).size, names.length);
  const told = panel.transformations.find((t) => t.id === "organize").options;
  for (const column of Object.keys(told.indexByName)) {
    const name = told.renameByName[column] ?? column;
    if (!/^Value #/.test(column)) assert.ok(names.includes(name), `${panel.title}: ${name}`);
  }
}

function units(panel) {
  const known = new Set(data.getValueFormats().flatMap((g) => g.submenu.map((f) => f.value)));
  const asked = [
    panel.fieldConfig.defaults.unit,
    ...panel.fieldConfig.overrides.flatMap((o) =>
      o.properties.filter((p) => p.id === "unit").map((p) => p.value)
    ),
  ];
  for (const unit of asked) assert.ok(known.has(unit), `${panel.title}: unit ${unit}`);
}

async function main(file) {
  const recorded = JSON.parse(readFileSync(file));
  let passed = 0;
  for (const [board, { panels }] of Object.entries(recorded.boards)) {
    for (const answered of panels) {
      const { panel } = answered;
      units(panel);
      if (!panel.transformations) continue;
      const frames = await drawn(answered);
      const empty = answered.results.every((r) => r.result.length === 0);
      if (!empty) {
        assert.equal(frames.length, 1, `${panel.title}: ${frames.length} frames`);
        if (panel.type === "canvas") topology(frames[0], panel);
        else if (panel.title === "Checklist") checklist(frames[0]);
        else if (panel.transformations[0].id === "groupingToMatrix") matrix(frames[0]);
        else plain(frames[0], panel);
      }
      passed += 1;
      console.log(`${board}: ${panel.title}: ${empty ? "no data" : `${frames[0].length} rows`}`);
    }
  }
  console.log(`${passed} passed, 0 failed`);
}

main(process.argv[2]).catch((error) => {
  console.error(error.message ?? error);
  process.exit(1);
});
