import { readFileSync } from "node:fs";

/** Models of XGBoost 1.7.4 with the results of its `predict`, and the TreeSHAP values of its `predict(pred_contribs=True)`, by feature and last the base. */
export interface Published {
  name: string;
  document: { objective: string; trees: unknown[] };
  names: string[];
  rows: (number | string | null)[][];
  predictions: number[];
  contributions: number[][];
}

export const published = readFileSync(new URL("models/xgboost.jsonl", import.meta.url), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Published);

export const features = (model: Published, row: (number | string | null)[]): Record<string, unknown> =>
  Object.fromEntries(model.names.map((name, i) => [name, row[i]]));
