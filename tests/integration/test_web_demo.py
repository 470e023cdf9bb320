"""Arguments of ``web_demo.py``, and what the page is given by them."""

import socket
from types import SimpleNamespace

import pytest
from helpers.pairs import CITYSCAPES, photo
from helpers.predictors import write_random
from helpers.programs import DEMO, load_tool
from mmengine.config import Config

tool = load_tool('web_demo.py')


@pytest.fixture(scope='module')
def network(tmp_path_factory) -> list[str]:
    """Options for the demo's network with random weights, trained on photos of 64 pixels."""
    config = Config.fromfile(DEMO)
    config.train_dataloader.dataset.pipeline.insert(2, dict(type='Resize', scale=(64, 64)))
    return write_random(config, tmp_path_factory.mktemp('random') / 'net')


def test_a_network_of_the_page_gets_photos_no_larger_than_in_its_training(network):
    args = tool.parse_args([*network, '--device', 'cpu'])
    (predictor,) = tool.open_predictors(args).values()
    assert predictor.max_side == 64
    assert predictor(photo(128, 256)).labels.shape == (128, 256)


@pytest.mark.parametrize(
    ('name', 'content'),
    [('bad.jpg', b'no image'), ('drive.mp4', b''), ('letter.txt', b'')],
)
def test_an_example_that_cannot_be_shown_is_named(network, tmp_path, capsys, name, content):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / name).write_bytes(content)
    assert tool.main([*network, '--examples', str(tmp_path / 'mine')]) == 2
    value = str(tmp_path / 'mine' / name) if name != 'letter.txt' else str(tmp_path / 'mine')
    assert value in capsys.readouterr().err


@pytest.mark.parametrize(
    ('classes', 'expected'),
    [
        ([CITYSCAPES['classes']] * 2, ('Street scenes by class', 5)),
        ([CITYSCAPES['classes'], ('wall', 'door')], ('Photos by class', 0)),
        ([CITYSCAPES['classes'][::-1]], ('Photos by class', 0)),
    ],
    ids=['streets', 'one of other classes', 'another order'],
)
def test_title_and_examples_follow_the_classes(monkeypatch, classes, expected):
    predictors = {
        str(i): SimpleNamespace(classes=list(names), bits=None) for i, names in enumerate(classes)
    }
    monkeypatch.setattr(tool, 'open_predictors', lambda args: predictors)

    def build(predictors, *, max_side, title, examples, bits):
        raise ValueError(f'{title}, {len(examples)}')

    monkeypatch.setattr('pspnet_plugin.toolkit.web.page.build_page', build)
    args = tool.parse_args(['--config', 'a', '--checkpoint', 'a'])
    with pytest.raises(ValueError, match='^{}, {}$'.format(*expected)):
        tool.serve(args)
    args = tool.parse_args(['--config', 'a', '--checkpoint', 'a', '--title', 'Mine'])
    with pytest.raises(ValueError, match='^Mine, '):
        tool.serve(args)


def test_a_taken_port_is_named(network, capsys):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert tool.main([*network, '--port', port]) == 2
    assert f'127.0.0.1:{port}' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'value'),
    [
        (['--config', 'a.py', '--checkpoint', 'a', '--port', '99999'], '99999'),
        (['--config', 'a.py', '--checkpoint', 'a.pth', 'b.pth'], '1 --config and 2 --checkpoint'),
        (['--config', 'none.py', '--checkpoint', 'a.pth'], 'none.py'),
        (['--config', 'configs/psp_demo.py', '--checkpoint', 'a.pth'], 'a.pth'),
        (['--config', 'a.py', '--checkpoint', 'a', '--max-side', '3'], '--max-side 3'),
        (['--config', 'a.py', '--checkpoint', 'a', '--root-path', 'street'], '--root-path street'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_unusable_arguments_are_named_before_a_page_is_served(arguments, value, capsys):
    assert tool.main(arguments) == 2
    assert value in capsys.readouterr().err
