"""Handlers that behave, and handlers that do not; written into a directory as `tasks.py` by the tests."""

ZOO = """
import asyncio, ctypes, os, signal, subprocess, sys, time
import windlass

app = windlass.App(version="1")

@app.task()
async def hello(name: str) -> str:
    return f"hello {name}"

@app.task(max_attempts=3, retry=windlass.RetryPolicy(base_s=0.05, cap_s=0.1))
def flaky(*, ctx: windlass.Context) -> int:
    if ctx.attempt < 3:
        raise ValueError("not yet")
    return ctx.attempt

@app.task(timeout="10m")
async def sleep(seconds: float = 600.0, *, ctx: windlass.AsyncContext) -> str:
    ctx.progress(0, seconds)
    await asyncio.sleep(seconds)
    return "slept"

@app.task(timeout="10m")
def sleep_blocking(seconds: float = 600.0) -> str:
    time.sleep(seconds)
    return "slept"

@app.task(timeout="10m")
async def swallow(*, ctx: windlass.AsyncContext) -> None:
    ctx.progress(0)
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            ctx.progress(1, message="no")

@app.task(timeout="10m")
def spin(*, ctx: windlass.Context) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctx.progress(0)
    while True:
        pass

@app.task(timeout="10m")
async def block(seconds: float = 600.0) -> None:
    time.sleep(seconds)

@app.task(max_attempts=1, retry=windlass.RetryPolicy(base_s=0.1))
def exits() -> None:
    os._exit(3)

@app.task(max_attempts=1, retry=windlass.RetryPolicy(base_s=0.1))
def segfaults() -> None:
    ctypes.string_at(0)

@app.task(timeout="10m")
def spawns(*, ctx: windlass.Context) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    ctx.progress(child.pid, message="spawned")
    child.wait()

@app.task(timeout="10m")
async def step(upto: int = 3, *, ctx: windlass.AsyncContext) -> dict:
    begun_at = ctx.checkpoint or 0
    for i in range(begun_at, upto):
        await ctx.save(i + 1)
        may_go_on = (ctx.directory / "go").exists()
        ctx.progress(i + 1, upto)
        if not may_go_on:
            await asyncio.sleep(600)
    return {"begun_at": begun_at}
"""
