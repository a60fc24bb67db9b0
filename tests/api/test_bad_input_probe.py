from typing import Any
import pytest, pytest_asyncio, copy
from uuid import uuid4
from graphql import *
from tests.api.test_mutations import EXAMPLES, MUTATIONS, World, a_world, document, stored, SCHEMA
from resolvers.reads.ids import encode

@pytest_asyncio.fixture(scope="module")
async def world(api: Any) -> World:
    return await a_world(api.member)

async def test_probe(api, world, database):
    out=[]
    before=await stored(database)
    async def tryit(m, inp, note):
        nonlocal before
        t=await api.ask(document(m), input=inp)
        after=await stored(database)
        if "errors" in t: r=[(e["message"][:80],e["extensions"]["code"]) for e in t["errors"]]
        else: r=[(e["code"],e["field"],e["message"]) for e in t["data"]["it"]["userErrors"]]
        out.append((m,note,r, "SAME" if after==before else "CHANGED"))
        before=after
    for m,(mk,_,_) in EXAMPLES.items():
        inp=mk(world.ids)
        for f,v in inp.items():
            if (v[0] if isinstance(v,list) and v else v) in list(world.ids.values()):
                from resolvers.reads.ids import split
                wrap=(lambda x:[x]) if f.endswith("Ids") else (lambda x:x)
                one=v[0] if isinstance(v,list) else v
                for note,new in (("unknown",encode(split(one)[0],uuid4())),("type",encode("Centre" if split(one)[0]!="Centre" else "User",split(one)[1])),("malformed","no id")):
                    await tryit(m,{**inp,f:wrap(new)},f"{f} {note}")
            elif isinstance(v,str):
                for note,new in (("long","x"*5000),("nul","a\0b"),("empty",""),("far","9999-12-31"),("farT","9999-12-31T23:59:59Z"),("early","0001-01-01"),("earlyT","0001-01-01T00:00:00Z")):
                    await tryit(m,{**inp,f:new},f"{f} {note}")
            elif isinstance(v,int):
                for new in (-1,0,2**31-1,2**31):
                    await tryit(m,{**inp,f:new},f"{f} {new}")
    for o in out: print(o)
