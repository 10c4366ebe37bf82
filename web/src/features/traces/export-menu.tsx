// Takes what is filtered away as a file.
import { useState } from "react";
import { buttonClass } from "@/components/button";
import { Menu, MenuItem } from "@/components/floating";
import { Icon } from "@/components/icon";
import { toast } from "@/components/toast";
import { count, percent } from "@/lib/format";
import type { TracesSearch } from "@/lib/search";
import { collect, ROWS_MAX, save } from "./export";

export function ExportMenu({ search, total }: { search: TracesSearch; total: number }) {
  const [share, setShare] = useState<number | null>(null);
  const run = async (format: "csv" | "json") => {
    setShare(0);
    try {
      const { items, total: all } = await collect(search, (have, of) => setShare(of > 0 ? have / of : 1));
      save(items, format);
      if (all > items.length)
        toast(
          `The newest ${count(items.length)} of ${count(all)} traces were exported. Narrow the period for the rest.`,
        );
    } catch (error) {
      toast(error instanceof Error ? error.message : String(error), { tone: "bad" });
    } finally {
      setShare(null);
    }
  };
  return (
    <Menu
      trigger={
        <button
          type="button"
          disabled={share !== null || total === 0}
          className={buttonClass("line")}
          title="Export what is filtered"
        >
          <Icon name="download" size={14} className="text-faint" />
          {share === null ? "Export" : percent(share)}
        </button>
      }
    >
      <MenuItem onSelect={() => run("csv")}>As CSV</MenuItem>
      <MenuItem onSelect={() => run("json")}>As JSON</MenuItem>
      <p className="px-2.5 pt-1 pb-1.5 text-xs text-faint">{`${count(Math.min(total, ROWS_MAX))} traces, as filtered`}</p>
    </Menu>
  );
}
