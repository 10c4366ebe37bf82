// The header of a page: its title, a note and its controls. On a phone it also has the search button.
import { createContext, type ReactNode, useContext } from "react";
import { IconButton } from "@/components/button";

/** Opens the command palette, which belongs to the shell around the page. */
export const OpenPalette = createContext<() => void>(() => undefined);

export function PageHeader({ title, about, children }: { title: ReactNode; about?: ReactNode; children?: ReactNode }) {
  return (
    <header className="sticky top-0 z-20 flex min-h-14 flex-wrap items-center gap-x-3 gap-y-2 border-b border-line bg-ground px-4 py-2.5 sm:px-6">
      <h1 className="min-w-0 text-md font-semibold">{title}</h1>
      {about && <div className="min-w-0 text-soft">{about}</div>}
      <IconButton
        icon="search"
        label="Search and commands"
        className="ml-auto sm:hidden"
        onClick={useContext(OpenPalette)}
      />
      <div className="ml-auto flex min-w-0 flex-wrap items-center justify-end gap-2 max-sm:ml-0 max-sm:has-[>:nth-child(3)]:w-full max-sm:has-[>:nth-child(3)]:justify-start">
        {children}
      </div>
    </header>
  );
}
