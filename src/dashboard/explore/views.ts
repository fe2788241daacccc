import type { JSX } from "preact";
import { Items } from "./items.tsx";
import { Funnel, Lifecycle, Retention, Stickiness } from "./people.tsx";
import { Cohorts, Paths, Sessions, Timeline } from "./sessions.tsx";
import { Trends } from "./trends.tsx";
import type { ViewProps } from "./view.ts";

const views = {
  trends: Trends,
  funnel: Funnel,
  retention: Retention,
  paths: Paths,
  items: Items,
  lifecycle: Lifecycle,
  stickiness: Stickiness,
  sessions: Sessions,
  cohorts: Cohorts,
  timeline: Timeline,
} as const;

export type View = keyof typeof views;

export const viewNames = Object.keys(views) as View[];

export const componentOf = (view: View): ((props: ViewProps) => JSX.Element) => views[view];

/** The view that settings name; the first one by default. */
export const viewOf = (given: string | undefined): View => viewNames.find((name) => name === given) ?? "trends";
