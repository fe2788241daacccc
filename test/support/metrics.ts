/** One line of Prometheus' text format. */
export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** Reads the text strictly: whatever is neither a comment nor a sample is an error, and so is a second one of a series. */
export function parseMetrics(text: string): { samples: Sample[]; types: Map<string, string> } {
  const samples: Sample[] = [];
  const types = new Map<string, string>();
  const seen = new Set<string>();
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("# HELP ")) continue;
    const type = /^# TYPE ([a-zA-Z_:][\w:]*) (counter|gauge|histogram|summary)$/.exec(line);
    if (type !== null) {
      if (types.has(type[1] ?? "")) throw new Error(`${type[1]} has two types`);
      types.set(type[1] ?? "", type[2] ?? "");
      continue;
    }
    const sample = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (sample === null) throw new Error(`not a sample: ${line}`);
    const [, name = "", list = "", value = ""] = sample;
    if (seen.has(`${name}{${list}}`)) throw new Error(`twice: ${line}`);
    seen.add(`${name}{${list}}`);
    const labels: Record<string, string> = {};
    let rest = list;
    while (rest !== "") {
      const label = /^([a-zA-Z_]\w*)="((?:[^"\\]|\\["\\n])*)",?/.exec(rest);
      if (label === null) throw new Error(`not a label: ${rest}`);
      labels[label[1] ?? ""] = label[2] ?? "";
      rest = rest.slice(label[0].length);
    }
    const number = value === "+Inf" ? Number.POSITIVE_INFINITY : value === "Nan" ? Number.NaN : Number(value);
    if (Number.isNaN(number) && value !== "Nan") throw new Error(`not a number: ${line}`);
    samples.push({ name, labels, value: number });
  }
  return { samples, types };
}
