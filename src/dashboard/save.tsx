import { useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { ActionCard } from "./action.tsx";
import { addresses } from "./addresses.ts";
import { present, send, useLoaded } from "./data.ts";
import { Choice, Field, Names, Tick } from "./form.tsx";
import { savedViews, saveView } from "./operations.ts";
import { texts } from "./texts.ts";

const words = texts.boards;

/** The cards that the page shows, by the name of their operation. */
function cardsOfPage(): [name: string, title: string][] {
  const cards = [...document.querySelectorAll<HTMLElement>("main .card[data-card]")];
  return [
    ...new Map(cards.map((card) => [card.dataset["card"] ?? "", card.querySelector("h2")?.textContent ?? ""] as const)),
  ];
}

/** Saves the address of the page, or of one of its cards, under a name, for oneself or for all, and pins it on a board. */
export function SaveView() {
  const { path, query } = useLocation();
  const [cards, setCards] = useState<[name: string, title: string][]>();
  const { result } = useLoaded(savedViews, {}, { isOff: cards === undefined });
  const boards = new Set(present(result?.analyticsSavedViews?.nodes).flatMap(({ board }) => board ?? []));
  return (
    <ActionCard
      title={words.save}
      isFolded
      onUnfold={() => setCards(cardsOfPage())}
      actions={[
        {
          label: words.submit,
          async run({ name = "", board, card, isShared }) {
            const { card: _former, ...settings } = query;
            const given = new URLSearchParams(card === undefined ? settings : { ...settings, card });
            const { analyticsSaveView } = await send(saveView, {
              input: {
                name,
                address: given.size > 0 ? `${path}?${given}` : path,
                isShared: isShared !== undefined,
                board: board ?? null,
              },
            });
            const id = String(analyticsSaveView?.result?.viewId ?? "");
            return (
              <>
                {words.saved} <a href={`${addresses.boards}?id=${id}`}>{words.link}</a>
              </>
            );
          },
        },
      ]}
    >
      <Field label={words.name} name="name" isRequired />
      <Choice label={words.card} name="card" choices={[["", words.page], ...(cards ?? [])]} />
      <Field label={words.board} name="board" list="boards" placeholder={words.noBoard} />
      <Names id="boards" names={[...boards].map((board) => [board] as const)} />
      <Tick label={words.share} name="isShared" />
    </ActionCard>
  );
}
