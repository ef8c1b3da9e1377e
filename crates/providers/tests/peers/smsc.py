"""Another SMSC (smpp34) for the tests of the provider `smpp`; it speaks as smsc.js does, as far as it can."""

import asyncio
import json
import socket
import sys

import smpp34


def tell(**what):
    print(json.dumps(what), flush=True)


REFUSALS = {"011": 0x0B, "014": 0x14, "058": 0x58, "066": 0x66, "008": 0x08}


async def report(esme, event, message_id, state, word):
    text = f"id:{message_id} sub:001 dlvrd:001 submit date:2311142213 done date:2311142214 stat:{word} err:034 text:Your code"
    resp = await esme.deliver_sm(
        event.source_addr,
        text.encode(),
        source_addr=event.destination_addr,
        esm_class=4,
        tlvs=[
            smpp34.Tlv(smpp34.TLV_RECEIPTED_MESSAGE_ID, message_id.encode() + b"\0"),
            smpp34.Tlv(smpp34.TLV_MESSAGE_STATE, bytes([state])),
        ],
    )
    tell(answered=resp.command_status)


async def main():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = smpp34.Server("127.0.0.1", port, system_id="smsc")
    await server.start()
    tell(ready=port)
    asyncio.get_running_loop().run_in_executor(None, lambda: (sys.stdin.read(), __import__("os")._exit(0)))
    esmes, number = {}, 0
    while True:
        event = await server.next()
        if isinstance(event, smpp34.Esme):
            esmes[event.session_id] = event
            tell(bound=event.system_id)
        elif isinstance(event, smpp34.Unbound):
            tell(unbound=True)
        else:
            digits = event.destination_addr[-3:]
            tlvs = {tlv.tag: tlv.value.hex() for tlv in event.tlvs}
            tell(
                submit=event.destination_addr,
                octets=event.short_message.hex(),
                source=event.source_addr,
                source_ton=event.source_addr_ton,
                data_coding=event.data_coding,
                esm_class=event.esm_class,
                registered_delivery=event.registered_delivery,
                tlvs=tlvs,
            )
            if digits in REFUSALS:
                event.reject(REFUSALS[digits])
                continue
            number += 1
            message_id = f"m-{number}"
            event.accept(message_id)
            if digits == "005":
                asyncio.create_task(report(esmes[event.session_id], event, message_id, 2, "DELIVRD"))
            if digits == "009":
                asyncio.create_task(report(esmes[event.session_id], event, message_id, 5, "UNDELIV"))


asyncio.run(main())
