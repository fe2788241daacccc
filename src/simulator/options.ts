import { z } from "zod";

export const DAY = 86_400_000;
export const WEEK = 7 * DAY;

/** The parameters of a population: the same options give the same bytes. */
export const Options = z.strictObject({
  learners: z.int().min(1).max(1_000_000).default(200),
  courses: z.int().min(1).max(10_000).default(24),
  weeks: z.int().min(1).max(520).default(8),
  seed: z.int().min(0).max(Number.MAX_SAFE_INTEGER).default(1),
  /** The end of the simulated time: a UTC midnight. */
  until: z.date().transform((date, context) => {
    if (date.getTime() % DAY !== 0) {
      context.addIssue({ code: "custom", message: `until must be a UTC midnight, not ${date.toISOString()}` });
    }
    return date;
  }),
});

export type Options = z.output<typeof Options>;
export type OptionsInput = z.input<typeof Options>;

/** The start of the simulated time. */
export function startOf(options: Options): number {
  return options.until.getTime() - options.weeks * WEEK;
}

/** The UTC midnight before an instant. */
export function midnight(instant: Date): Date {
  return new Date(Math.floor(instant.getTime() / DAY) * DAY);
}
