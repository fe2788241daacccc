import { readFileSync } from "node:fs";
import type { TestDatabase } from "../../../support/database.ts";

/*
 * gbstats.jsonl: sufficient statistics with the answers of gbstats 0.8.0 (growthbook/growthbook, packages/stats, commit
 * 8f1db4456915a8e7b7faf23d5632ca7219d2f469). The first 300 rows were computed once by running gbstats, with numpy 2.4
 * and scipy 1.17, on statistics of random users, of each type, test, side and kind of difference; the numbers have twelve
 * digits. The rows with a source are the published numbers of gbstats' own tests of post-stratification.
 */
export type Json = Record<string, unknown>;

export interface Answer {
  effect: number;
  stddev: number;
  low: number | null;
  high: number | null;
  p?: number;
  chance_to_win?: number;
  risk?: [number, number];
  post_stratified?: boolean;
}

export interface Golden {
  source?: string;
  control?: Json;
  treatment?: Json;
  strata?: [Json, Json][];
  options: Json;
  answer: Partial<Answer>;
}

export const golden: Golden[] = readFileSync(new URL("gbstats.jsonl", import.meta.url), "utf8")
  .trimEnd()
  .split("\n")
  .map((line) => JSON.parse(line) as Golden);

export const compare = (
  database: Pick<TestDatabase, "value">,
  control: Json,
  treatment: Json,
  options: Json = {},
): Promise<Answer> =>
  database.value<Answer>("select experiment.compare($1, $2, $3)", [
    JSON.stringify(control),
    JSON.stringify(treatment),
    JSON.stringify(options),
  ]);

export const compareStrata = (
  database: Pick<TestDatabase, "value">,
  strata: [Json, Json][],
  options: Json = {},
): Promise<Answer> =>
  database.value<Answer>("select experiment.compare_strata($1, $2)", [JSON.stringify(strata), JSON.stringify(options)]);

/**
 * The differences of an answer from gbstats': of effect and bounds in standard errors, and of probabilities. Not counted
 * is where gbstats is inexact: a p-value of a sequential test of one side is at least 1e-5 there, and its bisection stops
 * at an absolute error of the bound.
 */
export function differences(answer: Answer, { answer: expected, options }: Golden, tolerance = 1e-9): string[] {
  const unit = Math.abs(expected.stddev ?? answer.stddev);
  const scale = options["difference"] === "scaled" ? Math.max(unit, 1) : unit;
  const result: string[] = [];
  const near = (name: string, a: number | null | undefined, b: number | null | undefined, most: number): void => {
    if (a == null || b == null ? a !== b : !(Math.abs(a - b) <= most)) result.push(`${name} is ${a}, in gbstats ${b}`);
  };
  near("stddev", answer.stddev, expected.stddev, tolerance * unit);
  near("effect", answer.effect, expected.effect, tolerance * unit + 1e-11 * Math.abs(answer.effect));
  if ("low" in expected) near("low", answer.low, expected.low, tolerance * unit + 1e-11 * Math.abs(answer.effect));
  if ("high" in expected) near("high", answer.high, expected.high, tolerance * unit + 1e-11 * Math.abs(answer.effect));
  if (expected.p !== undefined) {
    const isBisected = options["test"] === "sequential" && options["side"] !== "both" && options["side"] !== undefined;
    if (isBisected && expected.post_stratified) {
      // gbstats computes this p-value from the statistics that are added up, and the interval from the strata
      const excludes = (answer.low !== null && answer.low > 0) || (answer.high !== null && answer.high < 0);
      if ((answer.p ?? 1) < (options["alpha"] as number) !== excludes) result.push(`p is ${answer.p}`);
    } else if (isBisected && expected.p <= 1e-5) near("p", Math.max(answer.p ?? 1, 1e-5), 1e-5, 1e-12);
    else near("p", answer.p, expected.p, isBisected ? 0.01 : tolerance);
  }
  if (expected.chance_to_win !== undefined) {
    near("chance_to_win", answer.chance_to_win, expected.chance_to_win, tolerance);
    near("risk of control", answer.risk?.[0], expected.risk?.[0], tolerance * scale * 10);
    near("risk of treatment", answer.risk?.[1], expected.risk?.[1], tolerance * scale * 10);
  }
  if (expected.post_stratified !== undefined && answer.post_stratified !== expected.post_stratified) {
    result.push(`post_stratified is ${answer.post_stratified}`);
  }
  return result;
}
