import { useRef, useState } from "preact/hooks";
import { addresses } from "../addresses.ts";
import { messageOf, present, send, useLoaded } from "../data.ts";
import { Names } from "../form.tsx";
import { savedViews, saveView } from "../operations.ts";
import { texts } from "../texts.ts";

const words = texts.boards;

/** Saves the address of the page under a name, for oneself or for all, and pins it on a board. */
export function SaveView({ address }: { address: string }) {
  const form = useRef<HTMLFormElement>(null);
  const { result } = useLoaded(savedViews, {});
  const [said, setSaid] = useState<string>();
  const [saved, setSaved] = useState<string>();
  const boards = new Set(present(result?.analyticsSavedViews?.nodes).flatMap(({ board }) => board ?? []));
  const submit = async (): Promise<void> => {
    const given = new FormData(form.current ?? undefined);
    setSaved(undefined);
    try {
      const { analyticsSaveView } = await send(saveView, {
        input: {
          name: String(given.get("name")),
          address,
          isShared: given.has("isShared"),
          board: String(given.get("board") ?? "") || null,
        },
      });
      setSaved(String(analyticsSaveView?.result?.viewId ?? ""));
      setSaid(words.saved);
    } catch (error) {
      setSaid(messageOf(error));
    }
  };
  return (
    <details class="card wide">
      <summary>{words.save}</summary>
      <form
        ref={form}
        class="settings"
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <label>
          {words.name}
          <input name="name" required maxLength={200} autocomplete="off" />
        </label>
        <label>
          {words.board}
          <input name="board" list="boards" maxLength={100} autocomplete="off" placeholder={words.noBoard} />
        </label>
        <Names id="boards" names={[...boards].map((board) => [board] as const)} />
        <label class="tick">
          <input type="checkbox" name="isShared" value="1" />
          {words.share}
        </label>
        <button type="submit">{words.submit}</button>
        <p class="note" role="status">
          {said} {saved !== undefined && <a href={`${addresses.boards}?id=${saved}`}>{words.link}</a>}
        </p>
      </form>
    </details>
  );
}
