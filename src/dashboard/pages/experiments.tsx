import { useState } from "preact/hooks";
import { ActionCard } from "../action.tsx";
import { addresses } from "../addresses.ts";
import { Card } from "../card.tsx";
import { inShares, lines } from "../chart.tsx";
import { present, send, useLoaded } from "../data.ts";
import { distinct, groupBy } from "../explore/view.ts";
import { Choice, Field, SettingsForm, type Values } from "../form.tsx";
import * as format from "../format.ts";
import {
  design,
  type ExperimentResultsQuery,
  experimentDays,
  experimentDecision,
  experimentHealth,
  experimentHistory,
  experimentResults,
  experiments,
  shipVariation,
  stopExperiment,
} from "../operations.ts";
import type { Session } from "../session.ts";
import { type Settings, usePinned, useQuery } from "../settings.ts";
import { texts } from "../texts.ts";

const words = texts.experiments;

type Result = NonNullable<NonNullable<NonNullable<ExperimentResultsQuery["experimentResults"]>["nodes"]>[number]>;

/** An effect in the unit in which it was computed. */
const effectText = (value: number | null, difference: string | null): string =>
  difference === "absolute" ? format.figure(value) : format.share(value);

const interval = ({ low, high, difference }: Result): string =>
  low === null && high === null ? "" : words.from(effectText(low, difference), effectText(high, difference));

/** Whether people came into the variations as the weights say, and what else stands in the way of a result. */
function Health({ experiment }: { experiment: string }) {
  const of = words.health;
  return (
    <Card
      title={of.title}
      explanation={of.explanation}
      operation={experimentHealth}
      variables={{ experiment }}
      rows={({ experimentHealth: health }) =>
        present(health?.variations).map((variation, index) => ({
          variation,
          people: health?.people?.[index],
          expected: health?.expected?.[index],
          srmP: health?.srmP,
          isMismatched: health?.isMismatched,
          warnings: health?.warnings,
        }))
      }
      columns={({ count, text }) => [
        text(words.variation, ({ variation }) => variation),
        count(words.people, ({ people }) => people),
        count(of.expected, ({ expected }) => expected),
      ]}
      note={([row]) =>
        [
          row?.isMismatched === true ? of.mismatch(format.metric(row.srmP)) : of.match(format.metric(row?.srmP)),
          ...present(row?.warnings),
        ].join(" ")
      }
      isAlarming={([row]) => row?.isMismatched === true}
    />
  );
}

function Decision({ experiment, session, onChange }: { experiment: string; session: Session; onChange: () => void }) {
  const of = words.decision;
  const { result, error } = useLoaded(experimentDecision, { experiment });
  const decision = result?.experimentDecision;
  const winner = decision?.verdict === "ship" ? decision.variation : null;
  const stop = {
    label: of.stop,
    confirm: of.yesStop,
    fields: <Field label={of.reason} name="reason" isRequired />,
    async run({ reason = "" }: Values) {
      await send(stopExperiment, { input: { experiment, reason } });
      onChange();
      return undefined;
    },
  };
  const ship = {
    label: of.ship(winner ?? ""),
    confirm: of.yesShip,
    async run() {
      await send(shipVariation, { input: { experiment, variation: winner ?? "" } });
      onChange();
      return undefined;
    },
  };
  return (
    <ActionCard
      title={of.title}
      no={of.no}
      actions={session.role !== "admin" ? [] : winner === null ? [stop] : [ship, stop]}
      explanation={
        error !== undefined ? (
          <p class="note bad">{error.message}</p>
        ) : (
          decision && (
            <>
              <p>
                <strong>{of.verdicts[decision.verdict ?? ""] ?? decision.verdict}</strong> {decision.variation}
              </p>
              <p class="note">{decision.reason}</p>
              <p class="note">{of.after(format.figure(decision.days), format.figure(decision.people))}</p>
              {present(decision.warnings).map((warning) => (
                <p key={warning} class="note bad">
                  {warning}
                </p>
              ))}
            </>
          )
        )
      }
    />
  );
}

/** The results of an experiment, with how its intervals are to be read. */
function Results({ experiment, test, planned }: { experiment: string; test: string; planned: number | null }) {
  const of = words.results;
  return (
    <>
      <p class="note wide">{words.reading[test]?.(planned === null ? undefined : format.figure(planned))}</p>
      <Card
        title={of.title}
        explanation={of.explanation}
        isWide
        operation={experimentResults}
        variables={{ experiment }}
        rows={({ experimentResults }) => present(experimentResults?.nodes)}
        columns={({ count, text }) => [
          text(of.metric, ({ metric }) => metric),
          text(of.role, ({ role }) => role),
          text(words.variation, ({ variation }) => variation),
          count(words.people, ({ people }) => people),
          count(of.figure, ({ figure }) => figure),
          {
            head: of.effect,
            isFigure: true,
            value: ({ effect }) => effect,
            show: ({ effect, difference }) => (effect === null ? "" : effectText(effect, difference)),
          },
          { head: of.interval, value: interval },
          {
            head: of.p,
            isFigure: true,
            value: ({ adjustedP, chanceToWin, p }) => adjustedP ?? p ?? chanceToWin,
            show: ({ adjustedP, chanceToWin, p }) =>
              chanceToWin === null
                ? (adjustedP ?? p) === null
                  ? ""
                  : format.metric(adjustedP ?? p)
                : of.chance(format.share(chanceToWin)),
          },
          {
            head: of.verdict,
            value: ({ verdict }) => verdict,
            show: ({ verdict }) => (
              <span class={verdict === "better" ? "good" : verdict === "worse" ? "bad" : ""}>{verdict}</span>
            ),
          },
          text(of.note, ({ note }) => note),
        ]}
      />
      <Days experiment={experiment} />
    </>
  );
}

/** The effect on the goal as it was after each day. */
function Days({ experiment }: { experiment: string }) {
  const of = words.days;
  return (
    <Card
      title={of.title}
      explanation={of.explanation}
      isWide
      operation={experimentDays}
      variables={{ experiment }}
      rows={({ experimentResultDays }) => present(experimentResultDays?.nodes).filter(({ effect }) => effect !== null)}
      columns={({ count, day, rate, text }) => [
        day(texts.day, ({ completeUntil }) => completeUntil),
        text(words.variation, ({ variation }) => variation),
        count(words.people, ({ people }) => people),
        rate(words.results.effect, ({ effect }) => effect),
        rate(of.low, ({ low }) => low),
        rate(of.high, ({ high }) => high),
      ]}
      chart={(rows) => {
        const days = distinct(rows.map(({ completeUntil }) => completeUntil));
        const of = (points: typeof rows, value: "effect" | "low" | "high") =>
          days.map((day) => points.find(({ completeUntil }) => completeUntil === day)?.[value] ?? null);
        return inShares(
          lines(
            days.map((day) => format.day(day)),
            groupBy(rows, ({ variation }) => variation ?? "").flatMap(([variation, points]) => [
              { name: variation, values: of(points, "effect") },
              { name: `${variation}, ${words.days.low}`, values: of(points, "low"), isDashed: true },
              { name: `${variation}, ${words.days.high}`, values: of(points, "high"), isDashed: true },
            ]),
          ),
        );
      }}
    />
  );
}

const number = (text: string | undefined, otherwise: number): number => {
  const value = Number(text ?? "");
  return text === undefined || Number.isNaN(value) ? otherwise : value;
};

/** How many people an experiment needs. */
function Design({ settings }: { settings: Settings }) {
  const of = words.design;
  const pinned = usePinned();
  const type = settings["type"] ?? "proportion";
  const mean = number(settings["mean"], 0.2);
  const effect = number(settings["effect"], 0.1);
  const users = number(settings["users"], 1000);
  const variance = number(settings["variance"], 1);
  const variables = {
    baseline: type === "proportion" ? { type, mean } : { type, mean, variance },
    effect,
    users: [users, users],
    options: {
      test: settings["test"] ?? "sequential",
      difference: settings["difference"] ?? "relative",
      alpha: number(settings["alpha"], 0.05),
    },
  };
  const choices = (list: readonly string[]) => list.map((name) => [name, of.choices[name] ?? name] as const);
  const field = (name: "mean" | "effect" | "users" | "variance" | "alpha", value: number) => (
    <Field label={of.fields[name]} name={name} type="number" value={settings[name] ?? String(value)} />
  );
  if (pinned?.card !== undefined && pinned.card !== design.name) return null;
  return (
    <section class="card wide" aria-labelledby="design">
      <header>
        <h2 id="design">{of.title}</h2>
      </header>
      <SettingsForm
        label={of.title}
        fixed={settings["experiment"] === undefined ? {} : { experiment: settings["experiment"] }}
      >
        {() => (
          <>
            <Choice
              label={of.fields.type}
              name="type"
              value={settings["type"]}
              choices={choices(["proportion", "mean"])}
            />
            {field("mean", 0.2)}
            {type === "mean" && field("variance", 1)}
            {field("effect", 0.1)}
            <Choice
              label={of.fields.difference}
              name="difference"
              value={settings["difference"]}
              choices={choices(["relative", "absolute"])}
            />
            <Choice
              label={of.fields.test}
              name="test"
              value={settings["test"]}
              choices={choices(["sequential", "welch"])}
            />
            {field("alpha", 0.05)}
            {field("users", 1000)}
          </>
        )}
      </SettingsForm>
      <Card
        title={of.needed}
        explanation={of.explanation}
        operation={design}
        variables={variables}
        rows={({ experimentMinimumDetectableEffect, experimentPower, experimentSampleSize }) => [
          { name: of.size, value: present(experimentSampleSize).map(format.figure).join(" + ") },
          { name: of.power(format.figure(users)), value: format.share(experimentPower) },
          {
            name: of.smallest(format.figure(users)),
            value: effectText(experimentMinimumDetectableEffect, variables.options.difference),
          },
        ]}
        columns={({ text }) => [text(of.question, ({ name }) => name), text(of.answer, ({ value }) => value)]}
      />
    </section>
  );
}

/** Experiments: which run, what they have shown, and how one is designed. */
export default function Experiments({ session }: { session: Session }) {
  const query = useQuery();
  const [turn, setTurn] = useState(0);
  const { result, reload } = useLoaded(experiments, {});
  const all = present(result?.experimentExperiments?.nodes);
  const chosen = all.find(({ experimentKey }) => experimentKey === query["experiment"]) ?? all[0];
  return (
    <div class="cards">
      <Card
        key={`list ${turn}`}
        title={words.list.title}
        explanation={words.list.explanation}
        empty={words.list.empty}
        isWide
        operation={experiments}
        variables={{}}
        rows={({ experimentExperiments }) => present(experimentExperiments?.nodes)}
        columns={({ text, time }) => [
          {
            head: words.list.name,
            value: ({ name }) => name,
            show: ({ experimentKey, name }) => (
              <a
                href={`${addresses.experiments}?${new URLSearchParams({ experiment: experimentKey })}`}
                aria-current={experimentKey === chosen?.experimentKey ? "true" : undefined}
              >
                {name}
              </a>
            ),
          },
          text(words.list.state, ({ state }) => state),
          text(words.list.test, ({ test }) => words.tests[test] ?? test),
          time(words.list.started, ({ startedAt }) => startedAt),
          time(words.list.stopped, ({ stoppedAt }) => stoppedAt),
        ]}
      />
      {chosen !== undefined && (
        <>
          <h2 class="wide">{chosen.name}</h2>
          {chosen.hypothesis !== null && <p class="note wide">{chosen.hypothesis}</p>}
          {chosen.startedAt !== null && (
            <>
              <Health key={`health ${chosen.experimentKey} ${turn}`} experiment={chosen.experimentKey} />
              <Decision
                key={`decision ${chosen.experimentKey} ${turn}`}
                experiment={chosen.experimentKey}
                session={session}
                onChange={() => {
                  reload();
                  setTurn((turn) => turn + 1);
                }}
              />
              <Results
                key={`results ${chosen.experimentKey} ${turn}`}
                experiment={chosen.experimentKey}
                test={chosen.test}
                planned={chosen.plannedPeople}
              />
            </>
          )}
          {session.role === "admin" && (
            <Card
              key={`history ${chosen.experimentKey} ${turn}`}
              title={words.history.title}
              explanation={words.history.explanation}
              isWide
              operation={experimentHistory}
              variables={{ experiment: chosen.experimentKey }}
              rows={({ experimentHistory }) => present(experimentHistory?.nodes).toReversed()}
              columns={({ text, time }) => [
                time(words.history.at, ({ changedAt }) => changedAt),
                text(words.history.by, ({ actor }) => actor),
                text(words.history.action, ({ action }) => action),
              ]}
            />
          )}
        </>
      )}
      <Design settings={query} />
    </div>
  );
}
