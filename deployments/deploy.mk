# Targets that install and package luner. The Makefile includes this file.

# Where `make install` puts things, under DESTDIR.
prefix ?= /usr/local
bindir ?= $(prefix)/bin
docdir ?= $(prefix)/share/doc/luner
sysconfdir ?= /etc
# systemd also looks for units in /usr/local.
unitdir ?= $(prefix)/lib/systemd/system
# The binary to install; `make build` builds it.
LUNER ?= bin/luner
SHELLS_DIR = $(DESTDIR)$(prefix)/share
COMPLETIONS = $(SHELLS_DIR)/bash-completion/completions/luner $(SHELLS_DIR)/zsh/site-functions/_luner $(SHELLS_DIR)/fish/vendor_completions.d/luner.fish

.PHONY: install
install: ## Install what `make build` built: binary, systemd units, configuration, completions (DESTDIR, prefix)
	@test -x $(LUNER) || { echo 'install: $(LUNER) is missing: run `make build` first, as yourself' >&2; exit 1; }
	$(say) 'install: $(DESTDIR)$(bindir)/luner'
	@install -D -m 755 $(LUNER) $(DESTDIR)$(bindir)/luner
	@install -d $(DESTDIR)$(unitdir) $(dir $(COMPLETIONS))
	@for unit in luner.service luner.socket; do \
	  sed 's|/usr/bin/luner|$(bindir)/luner|g' deployments/systemd/$$unit >$(DESTDIR)$(unitdir)/$$unit; \
	  chmod 644 $(DESTDIR)$(unitdir)/$$unit; \
	done
	@set -- $(COMPLETIONS); for shell in bash zsh fish; do $(LUNER) completions $$shell >"$$1"; chmod 644 "$$1"; shift; done
	@install -D -m 644 -t $(DESTDIR)$(docdir) README.md LICENSE
	@install -D -m 644 -t $(DESTDIR)$(docdir)/docs docs/*.md docs/*.svg
	@install -D -m 644 -t $(DESTDIR)$(docdir)/examples config/config.example.yaml config/minimal.yaml config/schema.json config/prices.json deployments/systemd/90-luner.conf
	@if [ -e $(DESTDIR)$(sysconfdir)/luner/config.yaml ]; then \
	  echo '==> install: $(DESTDIR)$(sysconfdir)/luner/config.yaml exists already and is left unchanged'; \
	else \
	  sed '1{/yaml-language-server/d}' config/config.example.yaml | install -D -m 644 /dev/stdin $(DESTDIR)$(sysconfdir)/luner/config.yaml; \
	fi
	@if [ -z "$(DESTDIR)" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi

.PHONY: uninstall
uninstall: ## Remove what `make install` installed; keeps configuration and state
	$(say) 'uninstall: $(DESTDIR)$(bindir)/luner'
	@rm -f $(DESTDIR)$(bindir)/luner $(DESTDIR)$(unitdir)/luner.service $(DESTDIR)$(unitdir)/luner.socket $(COMPLETIONS)
	@rm -rf $(DESTDIR)$(docdir)

.PHONY: deb
deb: build ## Build the Debian package into dist/
	@deployments/debian/build.sh

.PHONY: test-deploy
test-deploy: ## Check Dockerfile, compose files, systemd units, Kubernetes manifests, workflows, scripts
	@tests/deploy/run.sh

.PHONY: test-package
test-package: deb ## Install the Debian package in a container, run it under systemd, purge it (needs root and Debian)
	@deployments/debian/test.sh
