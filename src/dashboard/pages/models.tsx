import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { ActionCard } from "../action.tsx";
import { Card } from "../card.tsx";
import { bars, inShares, lines, reliability } from "../chart.tsx";
import { type Loaded, metricOf, present, send, useLoaded } from "../data.ts";
import { groupBy } from "../explore/view.ts";
import { Choice, Field, SettingsForm } from "../form.tsx";
import * as format from "../format.ts";
import {
  calibration,
  comparisons,
  drift,
  importances,
  type ProjectVersionsQuery,
  projectDeployments,
  projects,
  projectVersions,
  scoreTenths,
  trainRegression,
} from "../operations.ts";
import { useSettings } from "../settings.ts";
import { queryInSql } from "../sql.ts";
import { texts } from "../texts.ts";

const of = texts.models;
const { versions, deployed } = texts.recommendations;

interface Project {
  projectId: number;
  name: string;
  metric: string;
  higherIsBetter: boolean;
}

interface Version {
  modelId: string;
  version: number;
}

/** The single values of a JSON object, with the place of each as its name. */
const entriesOf = (value: unknown, name = ""): [name: string, value: string][] =>
  value !== null && typeof value === "object" && !Array.isArray(value)
    ? Object.entries(value).flatMap(([key, part]) => entriesOf(part, name === "" ? key : `${name}.${key}`))
    : [[name, typeof value === "number" ? format.metric(value) : [value].flat().join(", ")]];

function Quality({
  project: { projectId, metric, higherIsBetter },
  trained,
}: {
  project: Project;
  trained: Loaded<ProjectVersionsQuery>;
}) {
  return (
    <Card
      title={of.quality.title(metric)}
      explanation={`${of.quality.explanation} ${metric}: ${of.quality.better(higherIsBetter)}.`}
      operation={projectVersions}
      variables={{ projectId }}
      loaded={trained}
      isWide
      rows={({ mlModels }) => present(mlModels?.nodes)}
      columns={({ count, metric: figure, span, text, time }) => [
        count(versions.version, ({ version }) => version),
        text(versions.algorithm, ({ algorithm }) => algorithm),
        figure(metric, ({ metrics }) => metricOf(metrics, metric)),
        count(versions.rows, ({ rowCount }) => rowCount),
        span(versions.took, ({ duration }) => duration),
        time(versions.trained, ({ trainedAt }) => trainedAt),
        text(of.quality.marked, ({ markedReason }) => markedReason),
      ]}
      chart={(rows) => {
        const measured = rows.flatMap(({ version, metrics }) => {
          const value = metricOf(metrics, metric);
          return value === undefined ? [] : [{ version, value }];
        });
        return bars(
          measured.map(({ version }) => String(version)),
          metric,
          measured.map(({ value }) => value),
        );
      }}
    />
  );
}

function Details({
  projectId,
  chosen,
  trained,
}: {
  projectId: number;
  chosen: Version;
  trained: Loaded<ProjectVersionsQuery>;
}) {
  return (
    <Card
      title={of.metrics.title(chosen.version)}
      explanation={of.metrics.explanation}
      operation={projectVersions}
      variables={{ projectId }}
      loaded={trained}
      rows={({ mlModels }) =>
        present(mlModels?.nodes)
          .filter(({ modelId }) => modelId === chosen.modelId)
          .flatMap(({ metrics, parameters }) => [
            ...entriesOf(metrics).map(([name, value]) => ({ name, value, from: of.metrics.metric })),
            ...entriesOf(parameters).map(([name, value]) => ({ name, value, from: of.metrics.parameter })),
          ])
      }
      columns={({ text }) => [
        text(of.metrics.name, ({ name }) => name),
        text(of.metrics.value, ({ value }) => value),
        text(of.metrics.of, ({ from }) => from),
      ]}
    />
  );
}

function Importances({ project, chosen }: { project: string; chosen: Version }) {
  return (
    <Card
      title={of.importances.title(chosen.version)}
      explanation={of.importances.explanation}
      empty={of.importances.empty}
      operation={importances}
      variables={{ project, version: chosen.version }}
      rows={({ mlImportances }) => present(mlImportances?.nodes)}
      columns={({ metric, rate, text }) => [
        text(of.importances.feature, ({ feature }) => feature),
        metric(of.importances.importance, ({ importance }) => importance),
        rate(of.importances.share, ({ share }) => share),
      ]}
      chart={(rows) => {
        const first = rows.slice(0, 12);
        return inShares(
          bars(
            first.map(({ feature }) => feature ?? ""),
            of.importances.share,
            first.map(({ share }) => share ?? 0),
          ),
        );
      }}
    />
  );
}

function Calibration({ chosen }: { chosen: Version }) {
  return (
    <Card
      title={of.calibration.title(chosen.version)}
      explanation={of.calibration.explanation}
      empty={of.calibration.empty}
      operation={calibration}
      variables={{ modelId: chosen.modelId }}
      isTall
      rows={({ mlCalibrations }) => present(mlCalibrations?.nodes)}
      columns={({ count, rate, text, time }) => [
        text(of.calibration.part, ({ part }) => of.calibration.parts[part] ?? part),
        text(of.calibration.class, (row) => row.class),
        rate(of.calibration.predicted, ({ meanPredicted }) => meanPredicted),
        rate(of.calibration.observed, ({ fractionPositive }) => fractionPositive),
        rate(of.calibration.low, ({ fractionLower }) => fractionLower),
        rate(of.calibration.high, ({ fractionUpper }) => fractionUpper),
        count(of.calibration.rows, ({ rowCount }) => rowCount),
        time(of.calibration.at, ({ measuredAt }) => measuredAt),
      ]}
      chart={(rows) =>
        reliability(
          groupBy(rows, (row) =>
            [row.class, of.calibration.parts[row.part] ?? row.part].filter((part) => part !== null).join(", "),
          )
            .slice(0, 6)
            .map(([name, bins]) => ({
              name,
              bins: bins.map(({ meanPredicted, fractionPositive, fractionLower, fractionUpper, rowCount }) => ({
                predicted: meanPredicted,
                observed: fractionPositive,
                lower: fractionLower,
                upper: fractionUpper,
                note: of.calibration.bin(
                  format.share(meanPredicted),
                  format.share(fractionPositive),
                  format.share(fractionLower),
                  format.share(fractionUpper),
                  format.figure(rowCount),
                ),
              })),
            })),
          of.calibration,
        )
      }
      note={(rows) =>
        of.calibration.counted(
          format.figure(
            rows
              .filter(({ part, classNumber }) => part === rows[0]?.part && classNumber === rows[0]?.classNumber)
              .reduce((sum, { rowCount }) => sum + Number(rowCount), 0),
          ),
        )
      }
    />
  );
}

function Drift({ chosen }: { chosen: Version }) {
  return (
    <Card
      title={of.drift.title(chosen.version)}
      explanation={of.drift.explanation}
      empty={of.drift.empty}
      operation={drift}
      variables={{ modelId: chosen.modelId }}
      rows={({ mlDrifts }) => present(mlDrifts?.nodes)}
      columns={({ metric, text, time }) => [
        time(of.drift.at, ({ measuredAt }) => measuredAt),
        text(of.drift.statistic, ({ statistic }) => statistic),
        text(of.drift.feature, ({ feature }) => feature),
        metric(of.drift.value, ({ value }) => value),
        metric(of.drift.reference, ({ reference }) => reference),
        text(of.drift.verdict, ({ verdict }) => verdict),
      ]}
      chart={(rows) => {
        // The latest measurement of the inputs, those that moved most first.
        const latest = rows
          .filter(({ feature, measuredAt }) => feature !== null && measuredAt === rows[0]?.measuredAt)
          .toSorted((one, other) => other.value - one.value)
          .slice(0, 12);
        return bars(
          latest.map(({ feature }) => feature ?? ""),
          of.drift.index,
          latest.map(({ value }) => value),
        );
      }}
    />
  );
}

function ScoreTenths({ kind }: { kind: string }) {
  const { since } = useSettings().period;
  return (
    <Card
      title={of.tenths.title}
      explanation={of.tenths.explanation}
      operation={scoreTenths}
      variables={{ kind, since }}
      isWide
      rows={({ monitorCalibration }) => present(monitorCalibration?.nodes)}
      columns={({ count, rate, text }) => [
        text(of.tenths.model, ({ name }) => name),
        text(texts.whyNot.basis, ({ basis }) => basis),
        count(of.tenths.tenth, ({ tenth }) => tenth),
        count(of.tenths.score, ({ scoreMean }) => scoreMean),
        count(texts.recommendations.weekly.served, ({ servedCount }) => servedCount),
        rate(texts.recommendations.weekly.clicks, ({ clickRate }) => clickRate),
        rate(of.tenths.corrected, ({ correctedRate }) => correctedRate),
        rate(of.tenths.concordance, ({ concordance }) => concordance),
      ]}
      chart={(rows) => {
        const lineOf = ({ name, basis }: (typeof rows)[number]): string => `${name ?? format.missing} ${basis}`;
        const names = [...new Set(rows.map(lineOf))];
        const tenths = Array.from({ length: 10 }, (_, index) => index + 1);
        return inShares(
          lines(
            tenths.map(String),
            names.map((name) => ({
              name,
              values: tenths.map(
                (place) => rows.find((row) => row.tenth === place && lineOf(row) === name)?.correctedRate ?? null,
              ),
            })),
          ),
        );
      }}
    />
  );
}

const algorithms = {
  regression: ["elastic_net", "linregr"],
  classification: ["elastic_net", "logregr", "mlogregr"],
} as const;

const training = {
  sql: [
    [
      "select *",
      "from ml.train_regression(",
      "  $project, $source, $id, $label",
      "  features => $features",
      "  task => $task",
      "  algorithm => $algorithm",
      ")",
    ],
  ],
};

/** The columns that are listed in a field, by commas. */
const listed = (text: string | undefined): string[] | null =>
  text === undefined ? null : text.split(",").map((name) => name.trim());

function TrainForm({ onTrained }: { onTrained: (project: string) => void }) {
  const { train } = of;
  const [task, setTask] = useState<keyof typeof algorithms>("regression");
  const [sql, setSql] = useState<string>();
  return (
    <ActionCard
      title={train.title}
      explanation={train.explanation}
      isWide
      actions={[
        {
          label: train.submit,
          async run({ project = "", source = "", id = "", label = "", features, algorithm = "elastic_net" }) {
            const columns = listed(features);
            setSql(queryInSql(training, { project, source, id, label, features: columns, task, algorithm }));
            const { mlTrainRegression } = await send(trainRegression, {
              input: { project, sourceTable: source, idColumn: id, label, features: columns, task, algorithm },
            });
            const trained = mlTrainRegression?.result;
            if (!trained) return undefined;
            onTrained(project);
            const { version, metric, value, outcome, championVersion, championValue } = trained;
            return [
              train.done(
                version ?? 0,
                metric ?? "",
                format.metric(value),
                format.figure(trained.rowCount),
                format.figure(trained.holdoutRowCount),
              ),
              outcome === "first" || outcome === "better"
                ? train.outcomes[outcome]
                : train.outcomes.other(championVersion ?? 0, format.metric(championValue)),
            ].join(" ");
          },
        },
      ]}
      below={
        sql !== undefined && (
          <details open>
            <summary>{train.sql}</summary>
            <pre>{sql}</pre>
          </details>
        )
      }
    >
      <Field label={train.project} name="project" value="own." isRequired />
      <Field label={train.source} name="source" isRequired />
      <Field label={train.id} name="id" isRequired />
      <Field label={train.label} name="label" isRequired />
      <Field label={train.features} name="features" />
      <label>
        {train.task}
        <select
          name="task"
          value={task}
          onChange={({ currentTarget }) => setTask(currentTarget.value as keyof typeof algorithms)}
        >
          {Object.entries(train.tasks).map(([value, name]) => (
            <option key={value} value={value}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <Choice label={train.algorithm} name="algorithm" choices={algorithms[task].map((name) => [name, name])} />
    </ActionCard>
  );
}

/** One project: its versions, how they compare, and the chosen version in detail. */
function Figures({ project, children }: { project: Project; children: ComponentChildren }) {
  const { projectId, name } = project;
  const { version, days } = useSettings();
  const trained = useLoaded(projectVersions, { projectId });
  const served = useLoaded(projectDeployments, { projectId });
  const error = trained.error ?? served.error;
  if (error !== undefined) return <p class="note bad">{error.message}</p>;
  if (trained.result === undefined || served.result === undefined)
    return <div class="skeleton" role="status" aria-label={texts.card.loading} />;
  const known = present(trained.result.mlModels?.nodes);
  const current = present(served.result.mlDeployments?.nodes)[0]?.modelId;
  const chosen =
    known.find((each) => String(each.version) === version) ??
    known.find(({ modelId }) => modelId === current) ??
    known[0];
  return (
    <>
      <div class="settings">
        {children}
        <SettingsForm label={of.version} fixed={{ project: name, days: String(days) }}>
          {() => (
            <Choice
              label={of.version}
              name="version"
              value={String(chosen?.version ?? "")}
              choices={known.map((each) => [
                String(each.version),
                each.modelId === current ? of.deployed(each.version) : String(each.version),
              ])}
            />
          )}
        </SettingsForm>
      </div>
      <div class="cards">
        <Quality project={project} trained={trained} />
        <Card
          title={of.comparisons.title}
          explanation={of.comparisons.explanation}
          empty={of.comparisons.empty}
          operation={comparisons}
          variables={{ projectId }}
          isWide
          rows={({ mlComparisons }) => present(mlComparisons?.nodes)}
          columns={({ count, metric, text, time }) => [
            time(of.comparisons.at, ({ comparedAt }) => comparedAt),
            count(of.comparisons.version, ({ challengerModel }) => challengerModel?.version),
            metric(of.comparisons.value, ({ challengerValue }) => challengerValue),
            count(of.comparisons.champion, ({ championModel }) => championModel?.version),
            metric(of.comparisons.former, ({ championValue }) => championValue),
            text(of.comparisons.outcome, ({ outcome }) => outcome),
          ]}
        />
        <Card
          title={deployed.title}
          explanation={deployed.explanation}
          operation={projectDeployments}
          variables={{ projectId }}
          loaded={served}
          rows={({ mlDeployments }) => present(mlDeployments?.nodes)}
          columns={({ count, text, time }) => [
            time(deployed.at, ({ deployedAt }) => deployedAt),
            count(versions.version, ({ model }) => model?.version),
            text(versions.algorithm, ({ model }) => model?.algorithm),
            text(deployed.strategy, ({ strategy }) => strategy),
          ]}
        />
        {chosen !== undefined && (
          <>
            <Details key={`metrics ${chosen.modelId}`} projectId={projectId} chosen={chosen} trained={trained} />
            <Importances key={`importances ${chosen.modelId}`} project={name} chosen={chosen} />
            <Calibration key={`calibration ${chosen.modelId}`} chosen={chosen} />
            <Drift key={`drift ${chosen.modelId}`} chosen={chosen} />
          </>
        )}
        {name.startsWith("recommend.") && <ScoreTenths kind={name.slice("recommend.".length)} />}
      </div>
    </>
  );
}

/**
 * The registry of models: how good each version is, why it was deployed, and whether its inputs have moved; and a form
 * that trains a regression of one's own.
 */
export default function Models() {
  const { project, days } = useSettings();
  const { path, route } = useLocation();
  const [turn, setTurn] = useState(0);
  const { result, error, reload } = useLoaded(projects, {});
  if (error !== undefined) return <p class="note bad">{error.message}</p>;
  if (result === undefined) return <div class="skeleton" role="status" aria-label={texts.card.loading} />;
  const known = present(result.mlProjects?.nodes);
  const chosen = known.find(({ name }) => name === project) ?? known[0];
  return (
    <>
      {chosen === undefined ? (
        <p class="note">{of.none}</p>
      ) : (
        <Figures key={`${chosen.projectId} ${turn}`} project={chosen}>
          <SettingsForm label={of.project} fixed={{ days: String(days) }}>
            {() => (
              <Choice
                label={of.project}
                name="project"
                value={chosen.name}
                choices={known.map(({ name }) => [name, name])}
              />
            )}
          </SettingsForm>
        </Figures>
      )}
      <div class="cards">
        <TrainForm
          onTrained={(name) => {
            reload();
            setTurn((before) => before + 1);
            route(`${path}?${new URLSearchParams({ project: name, days: String(days) })}`);
          }}
        />
      </div>
    </>
  );
}
