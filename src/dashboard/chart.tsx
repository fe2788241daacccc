import type { EChartsCoreOption, EChartsType } from "echarts/core";
import { useEffect, useRef, useState } from "preact/hooks";
import { day, figure, share } from "./format.ts";
import { texts } from "./texts.ts";

export type ChartOption = EChartsCoreOption;

/** The value of a custom property of the style sheet, so that charts have the colours of the page. */
const colour = (name: string): string =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** What all charts have in common. */
function complete(option: ChartOption, description: string): ChartOption {
  const [faint, line, card, text] = ["faint", "line", "card", "text"].map(colour);
  const axis = (given: unknown): unknown => {
    if (Array.isArray(given)) return given.map(axis);
    if (typeof given !== "object" || given === null) return given;
    return {
      axisLine: { lineStyle: { color: line } },
      splitLine: { lineStyle: { color: line } },
      axisTick: { show: false },
      ...given,
      axisLabel: { color: faint, hideOverlap: true, ...("axisLabel" in given ? (given.axisLabel as object) : {}) },
    };
  };
  return {
    animation: !matchMedia("(prefers-reduced-motion: reduce)").matches,
    animationDuration: 200,
    aria: { enabled: true, label: { description } },
    color: ["accent", "second", "third", "fourth", "fifth", "sixth"].map(colour),
    grid: { left: 4, right: 12, top: 36, bottom: 4, outerBoundsMode: "same" },
    textStyle: { fontFamily: "inherit" },
    ...option,
    legend: {
      top: 0,
      left: 0,
      textStyle: { color: faint },
      itemWidth: 14,
      itemHeight: 8,
      ...(option["legend"] as object | undefined),
    },
    tooltip: {
      trigger: "axis",
      // Elements made from text would need inline styles, which the security policy of the page forbids.
      renderMode: "richText",
      confine: true,
      backgroundColor: card,
      borderColor: line,
      textStyle: { color: text },
      valueFormatter: (value: unknown) => (typeof value === "number" ? figure(value) : String(value ?? "")),
      ...(option["tooltip"] as object | undefined),
    },
    xAxis: axis(option["xAxis"]),
    yAxis: axis(option["yAxis"]),
  };
}

/** A chart that is loaded when it comes into view. `description` is read by screen readers. */
export function Chart({ option, description }: { option: ChartOption; description: string }) {
  const place = useRef<HTMLDivElement>(null);
  const [chart, setChart] = useState<EChartsType>();
  const [failed, setFailed] = useState(false);

  useEffect(() => {
    const element = place.current;
    if (element === null) return;
    let drawn: EChartsType | undefined;
    let gone = false;
    const resized = new ResizeObserver(() => drawn?.resize());
    const seen = new IntersectionObserver(async ([entry]) => {
      if (!entry?.isIntersecting) return;
      seen.disconnect();
      try {
        const { init } = await import("./echarts.ts");
        if (gone) return;
        drawn = init(element);
        resized.observe(element);
        setChart(drawn);
      } catch {
        setFailed(true);
      }
    });
    seen.observe(element);
    return () => {
      gone = true;
      seen.disconnect();
      resized.disconnect();
      drawn?.dispose();
    };
  }, []);

  useEffect(() => {
    if (chart === undefined) return;
    const draw = (): void => chart.setOption(complete(option, description), { notMerge: true });
    draw();
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", draw);
    return () => scheme.removeEventListener("change", draw);
  }, [chart, option, description]);

  if (failed) return <p class="note bad">{texts.card.chartFailed}</p>;
  return <div class="chart" ref={place} />;
}

interface Series {
  name: string;
  values: (number | null)[];
  /** Index from which the values are of a period that has not ended. */
  cutFrom?: number;
  isDashed?: boolean;
  hasArea?: boolean;
}

/** A note at a time of the axis. */
export interface Mark {
  index: number;
  title: string;
}

interface Noted {
  bucketStart: string | null;
  annotations: readonly (string | null)[] | null;
}

/** The notes of the rows of a trend, at the bucket in which each begins. */
export const marksOf = (rows: readonly Noted[]): Mark[] =>
  rows.flatMap(({ annotations }, index) => {
    const before = rows[index - 1]?.annotations ?? [];
    return (annotations ?? []).flatMap((title) => (title === null || before.includes(title) ? [] : [{ index, title }]));
  });

/** The notes as text. */
export const notesOf = (rows: readonly Noted[]): string =>
  marksOf(rows)
    .map(({ index, title }) => `${day(rows[index]?.bucketStart)}: ${title}`)
    .join("; ");

/** The index of the first row of a period that has not ended. */
export function cut(rows: readonly { isComplete?: boolean | null }[]): number {
  const index = rows.findIndex(({ isComplete }) => isComplete === false);
  return index < 0 ? rows.length : index;
}

/** Vertical lines at notes. Their titles are drawn while there are few of them; the text below the chart has all. */
function marked(marks: readonly Mark[]): object {
  return {
    silent: true,
    symbol: "none",
    lineStyle: { color: colour("faint"), type: "dashed", width: 1 },
    label: {
      show: marks.length <= 6,
      formatter: "{b}",
      position: "insideEndTop",
      color: colour("faint"),
      width: 150,
      overflow: "truncate",
    },
    data: marks.map(({ index, title }) => ({ xAxis: index, name: title })),
  };
}

/** Lines over times. The part of a period that has not ended is dotted. */
export function lines(labels: string[], series: Series[], marks: readonly Mark[] = []): ChartOption {
  return {
    legend: series.length > 1 ? { data: series.map(({ name }) => name) } : { show: false },
    xAxis: { type: "category", data: labels, boundaryGap: false },
    yAxis: { type: "value" },
    series: series.flatMap(({ name, values, cutFrom = values.length, isDashed, hasArea }, position) => {
      const line = {
        name,
        type: "line",
        symbol: "none",
        smooth: false,
        lineStyle: { width: 2, type: isDashed ? "dashed" : "solid" },
        areaStyle: hasArea ? { opacity: 0.12 } : undefined,
        data: values.map((value, index) => (index < cutFrom ? value : null)),
        ...(position === 0 && marks.length > 0 ? { markLine: marked(marks) } : {}),
      };
      if (cutFrom >= values.length) return [line];
      const rest = values.map((value, index) => (index >= cutFrom - 1 ? value : null));
      return [line, { ...line, data: rest, lineStyle: { width: 2, type: "dotted" }, markLine: undefined }];
    }),
  };
}

interface Reliability {
  name: string;
  /** Bins with the interval of the observed share. */
  bins: { predicted: number; observed: number; lower: number; upper: number; note: string }[];
}

/** Observed shares against predicted ones with their intervals, and the diagonal on which they are equal. */
export function reliability(
  series: Reliability[],
  { predicted, observed, ideal }: { predicted: string; observed: string; ideal: string },
): ChartOption {
  const axis = {
    type: "value",
    min: 0,
    max: 1,
    axisLabel: { formatter: share },
    nameLocation: "middle",
    nameTextStyle: { color: colour("faint") },
  };
  return {
    grid: { left: 4, right: 24, top: 36, bottom: 20, outerBoundsMode: "same" },
    legend: { data: [...series.map(({ name }) => name), ideal] },
    tooltip: {
      trigger: "item",
      formatter: ({ seriesName, name }: { seriesName: string; name: string }) =>
        name === "" ? seriesName : `${seriesName}\n${name.replace(", ", "\n")}`,
    },
    xAxis: { ...axis, name: predicted, nameGap: 26 },
    yAxis: { ...axis, name: observed, nameGap: 38 },
    series: [
      ...series.map(({ name, bins }) => ({
        name,
        type: "line",
        symbol: "circle",
        symbolSize: 8,
        lineStyle: { width: 2 },
        data: bins.map(({ predicted, observed, note }) => ({ value: [predicted, observed], name: note })),
        markLine: {
          silent: true,
          symbol: "none",
          label: { show: false },
          lineStyle: { type: "solid", width: 1.5, opacity: 0.6 },
          data: bins.map(({ predicted, lower, upper }) => [
            { coord: [predicted, lower] },
            { coord: [predicted, upper] },
          ]),
        },
      })),
      {
        name: ideal,
        type: "line",
        symbol: "none",
        silent: true,
        color: colour("faint"),
        lineStyle: { width: 1, type: "dashed", color: colour("faint") },
        data: [
          [0, 0],
          [1, 1],
        ],
      },
    ],
  };
}

/** The same chart of values from 0 to 1 as percentages. */
export function inShares(option: ChartOption): ChartOption {
  const percent = (value: unknown): string => (typeof value === "number" ? share(value) : String(value ?? ""));
  const axis = (given: unknown): unknown => {
    const { type, ...rest } = given as { type: string };
    return type === "value" ? { ...rest, type, axisLabel: { formatter: percent } } : given;
  };
  return {
    ...option,
    xAxis: axis(option["xAxis"]),
    yAxis: axis(option["yAxis"]),
    tooltip: { valueFormatter: percent },
  };
}

/** Counts have no fractions on their axis. */
const valueAxis = (values: number[]): object => ({
  type: "value",
  ...(values.every(Number.isInteger) ? { minInterval: 1 } : {}),
});

/** Horizontal bars, the first one at the top. */
export function bars(labels: string[], name: string, values: number[]): ChartOption {
  return {
    legend: { show: false },
    grid: { left: 4, right: 24, top: 4, bottom: 4, outerBoundsMode: "same" },
    xAxis: valueAxis(values),
    yAxis: {
      type: "category",
      data: labels,
      inverse: true,
      axisLabel: { width: 140, overflow: "truncate" },
    },
    series: [{ name, type: "bar", data: values, barMaxWidth: 18, itemStyle: { borderRadius: [0, 4, 4, 0] } }],
  };
}

/** Upright bars over a scale such as the hours of the day. */
export function columns(labels: string[], name: string, values: number[]): ChartOption {
  return {
    legend: { show: false },
    grid: { left: 4, right: 4, top: 8, bottom: 4, outerBoundsMode: "same" },
    xAxis: { type: "category", data: labels },
    yAxis: valueAxis(values),
    series: [{ name, type: "bar", data: values, itemStyle: { borderRadius: [4, 4, 0, 0] } }],
  };
}

/** Upright bars side by side, or stacked; negative values are below the axis. */
export function groups(
  labels: string[],
  series: { name: string; values: (number | null)[] }[],
  { isStacked = false } = {},
): ChartOption {
  return {
    legend: series.length > 1 ? { data: series.map(({ name }) => name), type: "plain" } : { show: false },
    xAxis: { type: "category", data: labels, axisLabel: { width: 120, overflow: "truncate", interval: 0 } },
    yAxis: { type: "value" },
    series: series.map(({ name, values }) => ({
      name,
      type: "bar",
      data: values,
      barMaxWidth: 60,
      ...(isStacked ? { stack: "all" } : { itemStyle: { borderRadius: [4, 4, 0, 0] } }),
    })),
  };
}

/** A heat map of shares, the first row at the top; null is an empty cell. */
export function heat(columns: string[], rows: string[], values: (number | null)[][], name: string): ChartOption {
  return {
    legend: { show: false },
    grid: { left: 4, right: 4, top: 4, bottom: 4, outerBoundsMode: "same" },
    tooltip: {
      trigger: "item",
      formatter: ({ value: [column = 0, row = 0, value = 0] }: { value: number[] }) =>
        `${rows[row]}, ${columns[column]}\n${name}: ${share(value)}`,
    },
    xAxis: { type: "category", data: columns, splitArea: { show: false } },
    yAxis: { type: "category", data: rows, inverse: true },
    visualMap: { show: false, min: 0, max: 1, inRange: { color: [colour("card"), colour("accent")] } },
    series: [
      {
        name,
        type: "heatmap",
        data: values.flatMap((cells, row) =>
          cells.flatMap((value, column) =>
            value === null
              ? []
              : [{ value: [column, row, value], label: { color: colour(value > 0.5 ? "accent-text" : "text") } }],
          ),
        ),
        label: {
          show: true,
          formatter: ({ value: [, , cell] }: { value: number[] }) => share(cell),
        },
        labelLayout: { hideOverlap: true },
        itemStyle: { borderColor: colour("line"), borderWidth: 1 },
      },
    ],
  };
}

/** Flows from step to step: the same name at two steps is two nodes. */
export function flows(
  edges: { step: number; source: string; target: string; value: number }[],
  name: string,
): ChartOption {
  const nodeOf = (step: number, label: string): string => `${step} ${label}`;
  const nodes = new Map(
    edges.flatMap(({ step, source, target }) => [
      [nodeOf(step, source), step - 1] as const,
      [nodeOf(step + 1, target), step] as const,
    ]),
  );
  const labelOf = (node: string): string => node.slice(node.indexOf(" ") + 1);
  return {
    legend: { show: false },
    tooltip: {
      trigger: "item",
      formatter: ({ data }: { data: { source?: string; target?: string; value?: number; name?: string } }) =>
        data.source === undefined
          ? labelOf(data.name ?? "")
          : `${labelOf(data.source)} → ${labelOf(data.target ?? "")}\n${name}: ${figure(data.value)}`,
    },
    series: [
      {
        type: "sankey",
        left: 4,
        right: 130,
        top: 8,
        bottom: 8,
        nodeGap: 10,
        nodeWidth: 12,
        draggable: false,
        label: {
          color: colour("text"),
          width: 120,
          overflow: "truncate",
          formatter: ({ name }: { name: string }) => labelOf(name),
        },
        lineStyle: { color: colour("accent"), opacity: 0.22 },
        data: [...nodes].map(([name, depth]) => ({ name, depth, itemStyle: { color: colour("accent") } })),
        links: edges.map(({ step, source, target, value }) => ({
          source: nodeOf(step, source),
          target: nodeOf(step + 1, target),
          value,
        })),
      },
    ],
  };
}

/** A heat map of the hours of the week: `values[weekday - 1][hour]`, Monday first. */
export function week(values: number[][], name: string): ChartOption {
  const largest = Math.max(1, ...values.flat());
  return {
    legend: { show: false },
    grid: { left: 4, right: 4, top: 4, bottom: 4, outerBoundsMode: "same" },
    tooltip: {
      trigger: "item",
      formatter: ({ data: [hour = 0, weekday = 0, value = 0] }: { data: number[] }) =>
        `${texts.weekdays[weekday]} ${String(hour).padStart(2, "0")}:00\n${name}: ${figure(value)}`,
    },
    xAxis: {
      type: "category",
      data: Array.from({ length: 24 }, (_, hour) => String(hour)),
      splitArea: { show: false },
    },
    yAxis: { type: "category", data: texts.weekdays, inverse: true },
    visualMap: {
      show: false,
      min: 0,
      max: largest,
      inRange: { color: [colour("card"), colour("accent")] },
    },
    series: [
      {
        name,
        type: "heatmap",
        data: values.flatMap((hours, weekday) => hours.map((value, hour) => [hour, weekday, value])),
        itemStyle: { borderColor: colour("card"), borderWidth: 1 },
      },
    ],
  };
}
