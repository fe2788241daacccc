import { DAY, type Options, WEEK } from "./options.ts";

/**
 * The experiment of the platform: a player that continues a video where the learner left it.
 *
 * What it changes is known: each video that a learner starts is watched to its end with the probability of her
 * variation, independent of everything else. So the share of started videos that are completed is 85 % without it, as
 * before the experiment, and 95 % with it, for every group of learners.
 */
export const EXPERIMENT = {
  key: "resume-videos",
  name: "Videos continue where they were left",
  hypothesis: "Learners who need not search for the place finish more of the videos that they start.",
  feature: "resume-videos",
  variations: [
    { key: "control", value: false },
    { key: "resume", value: true },
  ],
  goals: ["videos_finished"],
  secondary: ["modules_completed"],
  // The interval is narrowest at the number of people who see a video in the demo, not at the usual 5,000.
  tuning: 150,
  minimum_duration: "14 days",
} as const;

export type Variation = (typeof EXPERIMENT.variations)[number]["key"];

/** The probability that a started video is watched to its end. */
export const WATCHED_TO_END: Record<Variation, number> = { control: 0.85, resume: 0.95 };

/** The arguments of `experiment.define_metric`. */
export const METRICS = [
  {
    metric_key: "videos_started",
    type: "count",
    events: ["Video Playback Started"],
    description: "Videos that a learner started.",
  },
  {
    metric_key: "videos_completed",
    type: "count",
    events: ["Video Playback Completed"],
    description: "Videos that a learner watched to the end.",
  },
  {
    metric_key: "videos_finished",
    type: "ratio",
    numerator: "videos_completed",
    denominator: "videos_started",
    description: "Share of the started videos that were watched to the end.",
  },
  {
    metric_key: "modules_completed",
    type: "count",
    events: ["Module Completed"],
    description: "Modules that a learner completed.",
  },
] as const;

/** The start of the experiment: a UTC midnight, half of the simulated time before its end. */
export function beginning({ until, weeks }: Options): number {
  return until.getTime() - Math.floor((weeks * WEEK) / 2 / DAY) * DAY;
}
