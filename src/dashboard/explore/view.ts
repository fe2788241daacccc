import * as format from "../format.ts";
import type { periodOf, Settings } from "../settings.ts";
import { texts } from "../texts.ts";

/** Properties of a view of the page Explore. */
export interface ViewProps {
  settings: Settings;
  period: ReturnType<typeof periodOf>;
  /** The title of an item, or its identifier. */
  titleOf(item: string): string;
}

/** The name of a value of a breakdown. */
export const valueName = ({
  breakdownValue,
  isOther,
}: {
  breakdownValue: string | null;
  isOther: boolean | null;
}): string => (isOther === true ? texts.explore.others : (breakdownValue ?? texts.explore.without));

/** The label of a bucket. */
export function bucketLabel(bucket: string | undefined, start: string | null): string {
  if (bucket === "hour") return format.moment(start);
  return bucket === "month" ? format.month(start) : format.day(start);
}

/** Rows by a value, in the order in which the values come first. */
export function groupBy<Row>(rows: readonly Row[], nameOf: (row: Row) => string): [name: string, rows: Row[]][] {
  const groups = new Map<string, Row[]>();
  for (const row of rows) groups.set(nameOf(row), [...(groups.get(nameOf(row)) ?? []), row]);
  return [...groups];
}

/** The distinct values of a column, in their order. */
export const distinct = <Value>(values: readonly Value[]): Value[] => [...new Set(values)];
