"""The bridge: clients of either generation of NoETL work on servers of either generation.

`table.py` names the requests that are bridged, `requests.py` and `queries.py` make what goes upstream, and the modules
named after the rows what comes back; they are pure. `bridge.py` applies them, and asks for what they need besides.
"""
