// The frame around every page: the rail, the command palette, the keyboard shortcuts and the toasts.
import { Outlet, useNavigate } from "@tanstack/react-router";
import { useCallback, useState } from "react";
import { Toasts } from "@/components/toast";
import { useKeys } from "@/lib/keys";
import { Help } from "./help";
import { OpenPalette } from "./page-header";
import { Palette } from "./palette";
import { Rail } from "./rail";

export function Shell() {
  const [open, setOpen] = useState<"palette" | "help" | null>(null);
  const navigate = useNavigate();
  useKeys({
    "mod+k": () => setOpen((current) => (current === "palette" ? null : "palette")),
    "?": () => setOpen("help"),
    "1": () => navigate({ to: "/" }),
    "2": () => navigate({ to: "/traces" }),
    "3": () => navigate({ to: "/policies" }),
    "4": () => navigate({ to: "/changes" }),
    "5": () => navigate({ to: "/settings" }),
  });
  const openPalette = useCallback(() => setOpen("palette"), []);
  return (
    <div className="min-h-dvh sm:pl-[84px]">
      <a
        href="#page"
        className="sr-only z-50 rounded-md bg-accent px-3 py-2 text-accent-ink focus:not-sr-only focus:fixed focus:top-2 focus:left-2"
      >
        Skip to content
      </a>
      <Rail onPalette={openPalette} onHelp={() => setOpen("help")} />
      <main id="page" tabIndex={-1} className="mx-auto max-w-[1680px] pb-20 outline-none sm:pb-8">
        <OpenPalette value={openPalette}>
          <Outlet />
        </OpenPalette>
      </main>
      <Palette
        open={open === "palette"}
        onOpenChange={(isOpen) => setOpen(isOpen ? "palette" : null)}
        onHelp={() => setOpen("help")}
      />
      <Help open={open === "help"} onOpenChange={(isOpen) => setOpen(isOpen ? "help" : null)} />
      <Toasts />
    </div>
  );
}
