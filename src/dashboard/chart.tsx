import type { EChartsCoreOption, EChartsType } from "echarts/core";
import { useEffect, useRef, useState } from "preact/hooks";
import { figure } from "./format.ts";
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
    color: ["accent", "second", "third", "fourth"].map(colour),
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

/** Lines over times. The part of a period that has not ended is dotted. */
export function lines(labels: string[], series: Series[]): ChartOption {
  return {
    legend: series.length > 1 ? { data: series.map(({ name }) => name) } : { show: false },
    xAxis: { type: "category", data: labels, boundaryGap: false },
    yAxis: { type: "value" },
    series: series.flatMap(({ name, values, cutFrom = values.length, isDashed, hasArea }) => {
      const line = {
        name,
        type: "line",
        symbol: "none",
        smooth: false,
        lineStyle: { width: 2, type: isDashed ? "dashed" : "solid" },
        areaStyle: hasArea ? { opacity: 0.12 } : undefined,
        data: values.map((value, index) => (index < cutFrom ? value : null)),
      };
      if (cutFrom >= values.length) return [line];
      const rest = values.map((value, index) => (index >= cutFrom - 1 ? value : null));
      return [line, { ...line, data: rest, lineStyle: { width: 2, type: "dotted" } }];
    }),
  };
}

/** Horizontal bars, the first one at the top. */
export function bars(labels: string[], name: string, values: number[]): ChartOption {
  return {
    legend: { show: false },
    grid: { left: 4, right: 24, top: 4, bottom: 4, outerBoundsMode: "same" },
    xAxis: { type: "value" },
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
    yAxis: { type: "value" },
    series: [{ name, type: "bar", data: values, itemStyle: { borderRadius: [4, 4, 0, 0] } }],
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
