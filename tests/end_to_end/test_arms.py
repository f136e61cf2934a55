"""A fleet in an experiment on the demonstration's path: the aggregator's cells carry arm and platform, and no more."""

import json
import time
from collections import Counter

import pytest
from nacl.signing import SigningKey

from deployment import accepts, free_port
from discreet_aggregator.keys import new_key
from discreet_agent.identity import read_identity
from discreet_contract.assignment import assignment_key, draw_arm, layer_position
from every_metric import START, WINDOW, people
from replaying import discreet, running
