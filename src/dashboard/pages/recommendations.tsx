import { useState } from "preact/hooks";
import { ActionCard } from "../action.tsx";
import { Card } from "../card.tsx";
import { bars, inShares, lines } from "../chart.tsx";
import { metricOf, present, send } from "../data.ts";
import { Field } from "../form.tsx";
import * as format from "../format.ts";
import {
  cost,
  deployments,
  deployVersion,
  models,
  relevance,
  rollBack,
  weeklyRelevance,
  whyNot,
} from "../operations.ts";
import { Rules } from "../rules.tsx";
import type { Session } from "../session.ts";
import { useSettings } from "../settings.ts";
import { texts } from "../texts.ts";

const { weekly, byModel, versions, deployed, costs } = texts.recommendations;

function Deploy({ onChange }: { onChange: () => void }) {
  const of = texts.deploy;
  const done = (project: string, version: number | null | undefined): string => {
    onChange();
    return of.done(project, version ?? null);
  };
  return (
    <ActionCard
      title={of.title}
      explanation={of.explanation}
      no={of.no}
      actions={[
        {
          label: of.deploy,
          confirm: of.yes,
          async run({ project = "", version }) {
            const { mlDeploy } = await send(deployVersion, { input: { project, version: Number(version) } });
            return done(project, mlDeploy?.result);
          },
        },
        {
          label: of.rollBack,
          confirm: of.back,
          async run({ project = "" }) {
            const { mlRollback } = await send(rollBack, { input: { project } });
            return done(project, mlRollback?.result);
          },
        },
      ]}
    >
      <Field label={of.project} name="project" value="recommend.course" isRequired />
      <Field label={of.version} name="version" type="number" />
    </ActionCard>
  );
}

function WhyNot() {
  const of = texts.whyNot;
  const [asked, setAsked] = useState<{ person: string; item: string }>();
  return (
    <ActionCard
      title={of.title}
      explanation={of.explanation}
      actions={[
        {
          label: of.ask,
          async run({ person = "", item = "" }) {
            setAsked({ person, item });
            return undefined;
          },
        },
      ]}
      below={
        asked && (
          <Card
            key={JSON.stringify(asked)}
            title={of.answer(asked.item, asked.person)}
            explanation={of.explanation}
            operation={whyNot}
            variables={asked}
            rows={({ recommendWhyNot }) => present([recommendWhyNot])}
            columns={({ count, text }) => [
              text(of.rule, ({ isRecommended, rule }) => (isRecommended ? of.listed : rule)),
              text(of.detail, ({ detail }) => detail),
              count(of.rank, ({ rank }) => rank),
              count(of.score, ({ score }) => score),
              text(of.basis, ({ basis }) => basis),
            ]}
          />
        )
      }
    >
      <Field label={of.person} name="person" isRequired />
      <Field label={of.item} name="item" isRequired />
    </ActionCard>
  );
}

/** Is what is recommended worth something, and what does it cost? Administrators also change what is recommended. */
export default function Recommendations({ session }: { session: Session }) {
  const { period } = useSettings();
  const { since } = period;
  const [turn, setTurn] = useState(0);
  const isAdmin = session.role === "admin";
  return (
    <div class="cards">
      <Card
        title={weekly.title}
        explanation={weekly.explanation}
        operation={weeklyRelevance}
        variables={{ since }}
        isWide
        rows={({ monitorRelevance }) => present(monitorRelevance?.nodes)}
        columns={({ count, day, rate }) => [
          day(weekly.week, ({ startsAt }) => startsAt),
          count(weekly.served, ({ servedCount }) => servedCount),
          rate(weekly.clicks, ({ clickRate }) => clickRate),
          rate(weekly.lower, ({ clickRateLower }) => clickRateLower),
          rate(weekly.upper, ({ clickRateUpper }) => clickRateUpper),
          rate(weekly.completions, ({ completionRate }) => completionRate),
          rate(weekly.coverage, ({ coverage }) => coverage),
        ]}
        chart={(rows) =>
          inShares(
            lines(
              rows.map(({ startsAt }) => format.day(startsAt)),
              [
                { name: weekly.clicks, values: rows.map(({ clickRate }) => clickRate) },
                { name: weekly.lower, values: rows.map(({ clickRateLower }) => clickRateLower), isDashed: true },
                { name: weekly.upper, values: rows.map(({ clickRateUpper }) => clickRateUpper), isDashed: true },
              ],
            ),
          )
        }
      />
      <Card
        title={byModel.title}
        explanation={byModel.explanation}
        operation={relevance}
        variables={{ by: "model", since }}
        isWide
        rows={({ monitorRelevance }) => present(monitorRelevance?.nodes)}
        columns={({ count, rate, text }) => [
          text(byModel.model, ({ name }) => name),
          count(byModel.lists, ({ listCount }) => listCount),
          rate(weekly.clicks, ({ clickRate }) => clickRate),
          rate(weekly.completions, ({ completionRate }) => completionRate),
          rate(byModel.dismissals, ({ dismissalRate }) => dismissalRate),
          rate(weekly.coverage, ({ coverage }) => coverage),
          count(byModel.gini, ({ gini }) => gini),
          count(byModel.novelty, ({ novelty }) => novelty),
        ]}
        chart={(rows) =>
          inShares(
            bars(
              rows.map(({ name }) => byModel.version(name ?? format.missing)),
              weekly.clicks,
              rows.map(({ clickRate }) => clickRate ?? 0),
            ),
          )
        }
      />
      <Card
        title={versions.title}
        explanation={versions.explanation}
        operation={models}
        variables={{}}
        isWide
        rows={({ mlModels }) => present(mlModels?.nodes)}
        columns={({ count, span, text, time }) => [
          text(versions.project, ({ project }) => project?.name),
          count(versions.version, ({ version }) => version),
          text(versions.algorithm, ({ algorithm }) => algorithm),
          {
            head: versions.metric,
            isFigure: true,
            value: ({ project, metrics }) => metricOf(metrics, project?.metric),
            show(row) {
              const value = metricOf(row.metrics, row.project?.metric);
              return value === undefined ? format.missing : `${row.project?.metric} ${value.toFixed(3)}`;
            },
          },
          count(versions.rows, ({ rowCount }) => rowCount),
          span(versions.took, ({ duration }) => duration),
          time(versions.trained, ({ trainedAt }) => trainedAt),
        ]}
      />
      <Card
        key={`deployed ${turn}`}
        title={deployed.title}
        explanation={deployed.explanation}
        operation={deployments}
        variables={{}}
        rows={({ mlDeployments }) => present(mlDeployments?.nodes)}
        columns={({ count, text, time }) => [
          time(deployed.at, ({ deployedAt }) => deployedAt),
          text(versions.project, ({ project }) => project?.name),
          count(versions.version, ({ model }) => model?.version),
          text(versions.algorithm, ({ model }) => model?.algorithm),
          text(deployed.strategy, ({ strategy }) => strategy),
        ]}
      />
      <Card
        title={costs.title}
        explanation={costs.explanation}
        operation={cost}
        variables={{ since }}
        rows={({ monitorCost }) => present(monitorCost?.nodes)}
        columns={({ count, text }) => [
          text(costs.subject, ({ subject }) => subject),
          count(costs.units, ({ unitCount }) => unitCount),
          count(costs.mean, ({ meanMs }) => meanMs),
          count(costs.p95, ({ p95Ms }) => p95Ms),
          count(costs.bytes, ({ unitBytes }) => unitBytes),
        ]}
      />
      {isAdmin && (
        <>
          <Deploy onChange={() => setTurn((turn) => turn + 1)} />
          <WhyNot />
          <Rules />
        </>
      )}
    </div>
  );
}
