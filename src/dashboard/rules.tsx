import { useState } from "preact/hooks";
import { ActionCard } from "./action.tsx";
import { Card } from "./card.tsx";
import { present, send } from "./data.ts";
import { Choice, Field, type Values } from "./form.tsx";
import { figure } from "./format.ts";
import {
  dropRule,
  type PreviewRuleQueryVariables,
  previewRule,
  ruleItems,
  ruleProblems,
  rules,
  setRule,
} from "./operations.ts";
import { texts } from "./texts.ts";

const words = texts.rules;

/** The arguments of a rule. */
function ruleOf({ amount, place, items, activeUntil, ...others }: Values) {
  const { person: _person, ...texts } = others;
  return {
    ...(texts as { name: string; action: string }),
    ...(items === undefined ? {} : { items: items.split(",").map((item) => item.trim()) }),
    ...(amount === undefined ? {} : { amount: Number(amount) }),
    ...(place === undefined ? {} : { place: Number(place) }),
    ...(activeUntil === undefined ? {} : { activeUntil: `${activeUntil}T00:00:00Z` }),
  };
}

/** The list of a person with the rule, beside the present one. */
function Preview({ variables }: { variables: PreviewRuleQueryVariables }) {
  const of = words.preview;
  return (
    <Card
      title={of.title(variables.person)}
      explanation={of.explanation}
      operation={previewRule}
      variables={variables}
      rows={({ recommendPreviewRule }) => present(recommendPreviewRule?.nodes)}
      columns={({ text }) => [
        { head: of.rank, isFigure: true, value: ({ rank }) => rank, show: ({ rank }) => rank ?? of.out },
        {
          head: of.former,
          isFigure: true,
          value: ({ formerRank }) => formerRank,
          show: (row) => figure(row.formerRank),
        },
        text(of.item, ({ item, title }) => title ?? item),
      ]}
    />
  );
}

/** Rules of lists: those that there are, and a form that tries and sets one. */
export function Rules() {
  const [turn, setTurn] = useState(0);
  const [tried, setTried] = useState<PreviewRuleQueryVariables>();
  const changed = (text: string): string => {
    setTried(undefined);
    setTurn((turn) => turn + 1);
    return text;
  };
  return (
    <>
      <Card
        key={`rules ${turn}`}
        title={words.title}
        explanation={words.explanation}
        operation={rules}
        variables={{}}
        isWide
        rows={({ recommendRules }) => present(recommendRules?.nodes)}
        columns={({ count, day, text }) => [
          text(words.name, ({ name }) => name),
          text(words.action, ({ action }) => action),
          text(words.applies, ({ attribute, attributeValue, hasItems, kind, language }) =>
            [hasItems && words.items.given, kind, language, attribute && `${attribute} = ${attributeValue}`]
              .filter((part) => part !== null && part !== "" && part !== false)
              .join(", "),
          ),
          text(words.people, ({ personSet, isOutsideSet }) =>
            personSet === null ? "" : isOutsideSet ? words.outside(personSet) : personSet,
          ),
          count(words.amount, ({ amount }) => amount),
          count(words.place, ({ place }) => place),
          day(words.until, ({ activeUntil }) => activeUntil),
          text(words.active, ({ isActive }) => (isActive ? words.yes : words.no)),
        ]}
      />
      <Card
        key={`problems ${turn}`}
        title={words.problems.title}
        explanation={words.problems.explanation}
        empty={words.problems.empty}
        operation={ruleProblems}
        variables={{}}
        rows={({ recommendRuleProblems }) => present(recommendRuleProblems?.nodes)}
        columns={({ text }) => [
          text(words.name, ({ rule }) => rule),
          text(words.preview.item, ({ item }) => item),
          text(words.problems.problem, ({ problem }) => problem),
        ]}
      />
      <Card
        key={`items ${turn}`}
        title={words.items.title}
        explanation={words.items.explanation}
        empty={words.items.empty}
        operation={ruleItems}
        variables={{}}
        rows={({ recommendRuleItems }) => present(recommendRuleItems?.nodes)}
        columns={({ count, text }) => [
          text(words.name, ({ name }) => name),
          count(words.items.position, ({ position }) => position),
          text(words.preview.item, ({ item }) => item?.title ?? item?.externalId),
        ]}
      />
      <ActionCard
        title={words.form.title}
        explanation={words.form.explanation}
        isWide
        no={words.form.leave}
        actions={[
          {
            label: words.form.preview,
            async run(values) {
              setTried({ person: values["person"] ?? "", ...ruleOf(values) });
              return undefined;
            },
          },
          {
            label: words.form.set,
            async run(values) {
              const rule = ruleOf(values);
              await send(setRule, { input: rule });
              return changed(words.form.done(rule.name));
            },
          },
          {
            label: words.form.remove,
            confirm: words.form.yes,
            async run({ name = "" }) {
              await send(dropRule, { input: { name } });
              return changed(words.form.removed(name));
            },
          },
        ]}
        below={tried && <Preview key={JSON.stringify(tried)} variables={tried} />}
      >
        <Field label={words.name} name="name" isRequired />
        <Choice label={words.action} name="action" choices={words.form.actions} />
        <Field label={words.form.items} name="items" />
        <Field label={words.form.kind} name="kind" placeholder="course" />
        <Field label={words.form.attribute} name="attribute" />
        <Field label={words.form.value} name="attributeValue" />
        <Field label={words.amount} name="amount" type="number" />
        <Field label={words.place} name="place" type="number" />
        <Field label={words.people} name="personSet" />
        <Field label={words.until} name="activeUntil" type="date" />
        <Field label={words.form.person} name="person" />
      </ActionCard>
    </>
  );
}
