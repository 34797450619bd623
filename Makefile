# The commands that people type. Each line of work is done by `cargo xtask`; this file only makes
# sure that what it needs is installed and that what touches mounts runs as root.
#
#   make setup           install what is missing (asks for sudo only if you are not root)
#   make test            all tests, with a throw-away Ceph cluster
#     TESTS="-E '…'"       only some: what follows `cargo nextest run`
#     CEPH=18              on Ceph 18 instead of the installed one, in a system of its own
#   make test-kernel     only those in guests, with kernels that have Ceph's own clients
#   make demo            one volume's whole life on a throw-away Ceph cluster
#     KEEP=1               leave cluster and driver running and print how to use them
#     OUTPUT=json          one JSON document instead of the table
#   make down            remove whatever a demo left, also after a crash
#   make bench           speed and memory beside the bare library (BENCH="--quick" for a short run)
#   make manifests       write deploy/ anew from its source
#   make lint            format, clippy, and the checks of the house
#   make fuzz            run the fuzz targets briefly (FUZZ_SECONDS=20 each)

SHELL := /bin/sh
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
TARGET := $(or $(CARGO_TARGET_DIR),target)
XTASK := $(TARGET)/debug/xtask

# rustup puts cargo there; a shell that was open before does not know it yet, and a distribution's
# own cargo may be too old.
export PATH := $(HOME)/.cargo/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup setup-test test test-kernel demo down bench manifests lint fuzz xtask

help:
	@sed -n 's/^#   //p' Makefile

setup:
	@scripts/setup.sh

# Building cargo-nextest takes minutes; only the tests need it, and QEMU.
setup-test:
	@scripts/setup.sh $(if $(CEPH),ceph-$(CEPH),test)

xtask: setup
	@[ -x $(XTASK) ] || echo "building for the first time: some minutes" >&2
	@cargo build --quiet --locked --package xtask

test: setup-test xtask
	@$(XTASK) test $(if $(CEPH),--ceph $(CEPH)) $(TESTS)
	@$(if $(TESTS)$(CEPH),,$(XTASK) test-kernel)

test-kernel: setup-test xtask
	@$(XTASK) test-kernel $(KERNEL_TESTS)

demo: xtask
	@cargo build --quiet --locked --package cuttle
	@$(SUDO) $(XTASK) demo --driver $(TARGET)/debug/cuttle $(if $(KEEP),--keep) $(if $(OUTPUT),-o $(OUTPUT))

down:
	@if [ -x $(XTASK) ]; then $(SUDO) $(XTASK) down; else echo "nothing to remove: no demo was built here"; fi

bench: xtask
	@cargo build --quiet --locked --release --package cuttle --package xtask
	@$(SUDO) $(TARGET)/release/xtask bench --driver $(TARGET)/release/cuttle $(BENCH) $(if $(OUTPUT),-o $(OUTPUT))

manifests: xtask
	@$(XTASK) manifests

lint: xtask
	cargo fmt --all --check
	cargo clippy --quiet --locked --workspace --all-targets -- --deny warnings
	$(XTASK) check

fuzz: setup
	@scripts/fuzz.sh $(or $(FUZZ_SECONDS),20)
