#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Every command and option that the tool's --help names is in the manual page, and the reverse.

usage: test_man.py TOOL
"""
import os
import re
import subprocess
import sys

TOOL = sys.argv[1]
PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'docs/octavo.1')


def help_of(*argv):
    r = subprocess.run([TOOL, *argv, '--help'], text=True, capture_output=True, check=True)
    return r.stdout


with open(PAGE, encoding='utf-8') as f:
    page = f.read().replace('\\-', '-')
sections = dict(re.findall(r'^\.SS (\w+)\n(.*?)(?=^\.S[SH])', page, re.M | re.S))
commands = re.findall(r'^  (\w+)  ', help_of(), re.M)
wrong = []
if sorted(commands) != sorted(sections):
    wrong.append(f'commands {commands}, sections {list(sections)}')
checked = 0
for command in commands:
    options = set(re.findall(r'(?<![\w-])--[a-z][a-z-]*', help_of(command))) - {'--help'}
    described = set(re.findall(r'(?<![\w-])--[a-z][a-z-]*', sections.get(command, '')))
    checked += len(options)
    wrong += [f'octavo {command} {o} is not in the page' for o in sorted(options - described)]
    wrong += [f'the page has octavo {command} {o}, which is not there' for o in sorted(described - options)]
if len(commands) < 2 or checked < 5:
    wrong.append(f'{len(commands)} commands, {checked} options: looked at next to nothing')
print('\n'.join(wrong) or f'{checked} options of {len(commands)} commands')
sys.exit(1 if wrong else 0)
