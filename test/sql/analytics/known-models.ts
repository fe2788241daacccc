import { expect } from "vitest";
import type { TestDatabase } from "../../support/database.ts";

/*
 * Models of two features, imported, instead of trained ones: their predictions for the learners of the course `known` are computed here independently.
 */

const models = {
  dropout: { task: "classification", format: "logistic", intercept: -2, days_idle: 0.25, active_days: -0.5 },
  completion: { task: "classification", format: "logistic", intercept: 0.5, days_idle: -0.125, active_days: 0.25 },
  activity: { task: "regression", format: "linear", intercept: 2, days_idle: -0.1, active_days: 0.75 },
} as const;

export type Target = keyof typeof models;

const means = { days_idle: 5, active_days: 2.5 };

/** The learners of the course on the 15th of March, with the two features at that time. */
export const asOf = "2025-03-15 00:00Z";
const learners = { ann: { days_idle: 3, active_days: 3 }, bob: { days_idle: 13, active_days: 0 } };

export async function importModels(
  database: TestDatabase,
  targets: readonly Target[] = ["dropout", "completion", "activity"],
): Promise<void> {
  for (const target of targets) {
    const { task, format, intercept, days_idle, active_days } = models[target];
    await database.query("select ml.import_model($1, $2, $3, $4)", [
      `analytics.${target}`,
      task,
      format,
      { intercept, coefficients: { days_idle, active_days }, means },
    ]);
  }
}

export interface Prediction {
  person: string;
  score: number;
  reasons: { feature: string; feature_value: string; contribution: number }[];
}

/** The prediction of a model for each of them, highest first. */
export function predictionsOf(target: Target): Prediction[] {
  const model = models[target];
  return Object.entries(learners)
    .map(([person, features]) => {
      const sum = model.intercept + model.days_idle * features.days_idle + model.active_days * features.active_days;
      return {
        person,
        score: model.format === "linear" ? sum : 1 / (1 + Math.exp(-sum)),
        reasons: (["days_idle", "active_days"] as const)
          .map((feature) => ({
            feature,
            feature_value: String(features[feature]),
            contribution: model[feature] * (features[feature] - means[feature]),
          }))
          .sort((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution)),
      };
    })
    .sort((a, b) => b.score - a.score);
}

/** The same, as the functions are to answer. */
export const answersOf = (predictions: readonly Prediction[]): object[] =>
  predictions.map(({ person, score, reasons }, place) => ({
    rank: place + 1,
    person,
    score: expect.closeTo(score),
    reasons: reasons.map((reason) => ({ ...reason, contribution: expect.closeTo(reason.contribution) })),
    model_version: 1,
    as_of: new Date(asOf),
  }));
