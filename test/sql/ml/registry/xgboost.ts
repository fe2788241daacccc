import { readFileSync } from "node:fs";

/** Models of XGBoost 1.7.4 with the results of its `predict`, and the TreeSHAP values of its `predict(pred_contribs=True)`, by feature and last the base. */
export interface Published {
  name: string;
  document: { objective: string; trees: unknown[]; base_score?: number };
  names: string[];
  rows: (number | string | null)[][];
  predictions: number[];
  contributions: number[][];
}

export const published = readFileSync(new URL("models/xgboost.jsonl", import.meta.url), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Published)
  // A dump does not contain the base score; these were trained with the default of that version.
  .map((model) => ({ ...model, document: { base_score: 0.5, ...model.document } }));

/** Models of XGBoost 3.0.0 (those of `survival:` of 1.7.4) as `get_dump` and as `save_model` give them. The latter writes NaN, which is null here. */
export interface Saved {
  name: string;
  objective: string;
  dump: string[];
  saved: { learner: { feature_types: string[] } };
  base_score: string;
  features: string[];
  rows: (number | null)[][];
  predictions: (number | number[])[];
  contributions?: number[][];
  categories?: Record<string, string[]>;
}

export const savedLines = readFileSync(new URL("models/xgboost-saved.jsonl", import.meta.url), "utf8")
  .trim()
  .split("\n");

export const savedModels = savedLines.map((line) => JSON.parse(line.replaceAll("NaN", "null")) as Saved);

/** A row of a saved model as features: a category is given by the text of its code. */
export const savedFeatures = (model: Saved, row: (number | null)[]): Record<string, unknown> =>
  Object.fromEntries(
    model.features.map((name, i) => {
      const value = row[i] ?? null;
      return [name, value !== null && model.saved.learner.feature_types[i] === "c" ? String(value) : value];
    }),
  );

export const features = (model: Published, row: (number | string | null)[]): Record<string, unknown> =>
  Object.fromEntries(model.names.map((name, i) => [name, row[i]]));

/** Models of several classes by the library named, with the probabilities that it gives (`expected`). */
export interface ClassModel {
  name: string;
  format: string;
  document: {
    model?: unknown;
    classes?: string[];
    expected: { features: Record<string, number | null>; prediction: number[] }[];
  };
  /** For each expected row and class, by feature and last the base, as `predict(pred_contribs=True)`. */
  contributions?: number[][][];
}

export const classModels = readFileSync(new URL("models/classes.jsonl", import.meta.url), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as ClassModel);
