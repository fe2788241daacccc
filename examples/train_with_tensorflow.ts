/*
 * A worker task that trains outside of the database: the training set is exported as CSV, TensorFlow.js fits a logistic
 * regression, and the coefficients are imported as a version of a project and compared with the deployed version.
 *
 * Add it to the tasks of the product: `run({ taskList: { ...taskList, train_with_tensorflow } })`.
 */
import "@tensorflow/tfjs-backend-cpu";
import * as tf from "@tensorflow/tfjs-core";
import { layers, sequential } from "@tensorflow/tfjs-layers";
import { parse } from "csv-parse/sync";
import { z } from "zod";
import { defineTask } from "../src/worker/define-task.ts";

const payload = z.object({
  project: z.string(),
  source_table: z.string(),
  id: z.string(),
  label: z.string(),
  features: z.string().default("*"),
  epochs: z.int().min(1).default(60),
});

type Row = Record<string, string>;

export default defineTask<z.output<typeof payload>>({
  name: "train_with_tensorflow",
  payload,
  async run({ project, source_table, id, label, features, epochs }, { call }) {
    const lines = await call<{ line: string }>("select line from ml.export_training_set($1, $2, $3, $4) as line", [
      source_table,
      id,
      label,
      features,
    ]);
    const rows: Row[] = parse(lines.map(({ line }) => line).join("\n"), { columns: true });
    const names = Object.keys(rows[0] ?? {}).filter((name) => !["part", "id", "label"].includes(name));
    const training = rows.filter(({ part }) => part !== "holdout");

    // Standardised; missing values are replaced by the mean, as ml.predict does with `means`.
    const scales = names.map((name) => {
      const known = training
        .map((row) => row[name])
        .filter((value) => value !== "" && value !== undefined)
        .map(Number);
      const mean = known.reduce((sum, value) => sum + value, 0) / Math.max(known.length, 1);
      const variance = known.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(known.length, 1);
      return { name, mean, deviation: Math.sqrt(variance) || 1 };
    });
    const inputs = tf.tensor2d(
      training.map((row) =>
        scales.map(({ name, mean, deviation }) => (row[name] ? (Number(row[name]) - mean) / deviation : 0)),
      ),
      [training.length, names.length],
    );
    const labels = tf.tensor2d(training.map((row) => [Number(row["label"])]));

    const network = sequential({
      layers: [
        layers.dense({ units: 1, activation: "sigmoid", inputShape: [names.length], kernelInitializer: "zeros" }),
      ],
    });
    network.compile({ optimizer: tf.train.adam(0.05), loss: "binaryCrossentropy" });
    await network.fit(inputs, labels, { epochs, batchSize: 64, shuffle: false, verbose: 0 });
    const [kernel, bias] = network.getWeights().map((tensor) => Array.from(tensor.dataSync()));
    tf.dispose([inputs, labels]);
    network.dispose();

    // In the features' own units again.
    const coefficients = Object.fromEntries(
      scales.map(({ name, deviation }, i) => [name, (kernel?.[i] ?? 0) / deviation]),
    );
    const document = {
      intercept: scales.reduce((sum, { name, mean }) => sum - (coefficients[name] ?? 0) * mean, bias?.[0] ?? 0),
      coefficients,
      means: Object.fromEntries(scales.map(({ name, mean }) => [name, mean])),
    };
    const [registered] = await call<{ version: number }>(
      "select ml.import_model($1, 'classification', 'logistic', $2, 'TensorFlow.js') as version",
      [project, JSON.stringify(document)],
    );
    const [challenge] = await call<{ outcome: string; value: number }>(
      "select outcome, value from ml.challenge($1, $2, $3, $4, $5)",
      [project, registered?.version, source_table, label, `ml.in_holdout(${id}::text)`],
    );
    return { rows: training.length, detail: { version: registered?.version, ...challenge } };
  },
});
